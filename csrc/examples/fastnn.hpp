/* libfastnn for C++11: models and sessions that free themselves and are moved, not copied; errors are exceptions with the
 * library's text; arrays are std::vector, or pointers and a number of rows. One header, to be copied into a project.
 *
 *   fastnn::model model("iris.fnn");
 *   fastnn::session<float> session(model, 32);
 *   std::vector<float> y = session.predict(x);      // x: rows of model.inputs()[0].count numbers
 *
 * `get` gives the handle for the functions of fastnn.h that have no method here.
 */
#ifndef FASTNN_HPP
#define FASTNN_HPP

#include <fastnn.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastnn {

class error : public std::runtime_error {
public:
    explicit error(const fnn_error &e) : std::runtime_error(e.text), detail(e) {}
    explicit error(const std::string &text) : std::runtime_error(text), detail() {
        detail.status = FNN_ERR_ARGUMENT;
        detail.tensor = -1;
        detail.row = -1;
    }
    fnn_error detail;
};

namespace internal {

struct give_back {
    void operator()(fnn_model *model) const noexcept { fnn_model_free(model); }
    void operator()(fnn_session *session) const noexcept { fnn_session_free(session); }
};

/* Calls a function of the library, whose last argument is `fnn_error *`. */
template <class Function, class... Arguments> void call(Function function, Arguments... arguments) {
    fnn_error e;
    if (function(arguments..., &e) != FNN_OK) throw error(e);
}

template <class T> struct dtype;
template <> struct dtype<float> { static constexpr int value = FNN_F32; };
template <> struct dtype<double> { static constexpr int value = FNN_F64; };
template <> struct dtype<std::int32_t> { static constexpr int value = FNN_I32; };

template <class T> void check_type(const fnn_tensor_info &info) {
    if (info.dtype != dtype<T>::value) throw error("tensor '" + std::string(info.name) + "' is of another type than the array");
}

template <class T> std::int64_t rows_in(const std::vector<T> &values, const fnn_tensor_info &info) {
    const std::int64_t size = static_cast<std::int64_t>(values.size());
    if (info.count < 1 || size % info.count != 0)
        throw error("tensor '" + std::string(info.name) + "' has rows of " + std::to_string(info.count) +
                    " numbers, got an array of " + std::to_string(size));
    return size / info.count;
}

}  // namespace internal

class model {
public:
    explicit model(const std::string &path) {
        fnn_model *made = nullptr;
        internal::call(fnn_open, path.c_str(), &made);
        handle_.reset(made);
    }
    model(const void *bytes, std::size_t size) {
        fnn_model *made = nullptr;
        internal::call(fnn_open_memory, bytes, size, &made);
        handle_.reset(made);
    }

    fnn_model *get() const noexcept { return handle_.get(); }

    std::vector<fnn_tensor_info> inputs() const { return tensors(FNN_INPUTS); }
    std::vector<fnn_tensor_info> outputs() const { return tensors(FNN_OUTPUTS); }
    std::vector<fnn_tensor_info> targets() const { return tensors(FNN_TARGETS); }
    std::vector<fnn_tensor_info> parameters() const { return tensors(FNN_PARAMETERS); }
    std::vector<std::string> feature_names() const { return names(FNN_FEATURE_NAMES); }
    std::vector<std::string> class_names() const { return names(FNN_CLASS_NAMES); }

    /* Updates made, and the optimizer's learning rate: NaN where it is a schedule, or there is no optimizer. */
    std::int64_t iterations() const { return fnn_model_iterations(get()); }
    double learning_rate() const { return fnn_model_learning_rate(get()); }

    template <class T> std::vector<T> parameter(const fnn_tensor_info &info) const {
        internal::check_type<T>(info);
        std::vector<T> values(static_cast<std::size_t>(info.count));
        internal::call(fnn_get_parameter, get(), info.id, static_cast<void *>(values.data()), info.count);
        return values;
    }
    template <class T> void set_parameter(const fnn_tensor_info &info, const std::vector<T> &values) {
        internal::check_type<T>(info);
        internal::call(fnn_set_parameter, get(), info.id, static_cast<const void *>(values.data()),
                       static_cast<std::int64_t>(values.size()));
    }

    void save(const std::string &path) const { internal::call(fnn_save, get(), path.c_str()); }
    std::vector<unsigned char> save_memory() const {
        std::size_t size = 0;
        fnn_error e;
        fnn_save_memory(get(), nullptr, 0, &size, &e); /* says how much it takes */
        if (size == 0) throw error(e);
        std::vector<unsigned char> bytes(size);
        internal::call(fnn_save_memory, get(), static_cast<void *>(bytes.data()), bytes.size(), &size);
        bytes.resize(size);
        return bytes;
    }

private:
    std::vector<fnn_tensor_info> tensors(int kind) const {
        std::vector<fnn_tensor_info> found(static_cast<std::size_t>(fnn_model_count(get(), kind)));
        for (std::size_t i = 0; i < found.size(); i++)
            internal::call(fnn_model_tensor, get(), kind, static_cast<int>(i), &found[i]);
        return found;
    }
    std::vector<std::string> names(int kind) const {
        std::vector<std::string> found;
        for (int i = 0; i < fnn_model_count(get(), kind); i++) found.push_back(fnn_model_name(get(), kind, i));
        return found;
    }

    std::unique_ptr<fnn_model, internal::give_back> handle_;
};

/* A session of a model with one input and one output, whose numbers are of type T. Use one in one thread at a time. */
template <class T> class session {
public:
    session(const model &of, std::int64_t max_rows, int mode = FNN_PREDICT, int flags = 0)
        : inputs_(of.inputs()), outputs_(of.outputs()), targets_(of.targets()), max_rows_(max_rows) {
        if (inputs_.size() != 1 || outputs_.size() != 1)
            throw error("a fastnn::session needs a model with one input and one output");
        internal::check_type<T>(inputs_[0]);
        internal::check_type<T>(outputs_[0]);
        fnn_session *made = nullptr;
        internal::call(fnn_session_create, of.get(), mode, max_rows, flags, &made);
        handle_.reset(made);
        for (auto *list : {&inputs_, &outputs_, &targets_})
            for (auto &info : *list) info.name = ""; /* it is the model's */
    }

    fnn_session *get() const noexcept { return handle_.get(); }
    std::size_t bytes() const noexcept { return fnn_session_bytes(get()); }

    /* x (n, inputs) to y (n, outputs), n <= max_rows. Real-time, as fnn_predict. */
    void predict(const T *x, T *y, std::int64_t n) {
        if (fnn_predict(get(), x, y, n) != FNN_OK) throw error(*fnn_session_error(get()));
    }
    /* Any number of rows. */
    std::vector<T> predict(const std::vector<T> &x) {
        const std::int64_t n = internal::rows_in(x, inputs_[0]);
        std::vector<T> y(static_cast<std::size_t>(n * outputs_[0].count));
        for (std::int64_t i = 0; i < n; i += max_rows_)
            predict(x.data() + i * inputs_[0].count, y.data() + i * outputs_[0].count, n - i < max_rows_ ? n - i : max_rows_);
        return y;
    }

    /* One update, or an epoch of updates with batches of max_rows; returns the mean loss. Target: T, or int32_t where the
     * targets are classes. */
    template <class Target> double train_batch(const std::vector<T> &x, const std::vector<Target> &y, double learning_rate) {
        const std::int64_t n = samples(x, y);
        const void *const arrays[] = {x.data(), y.data()};
        double loss = std::numeric_limits<double>::quiet_NaN();
        internal::call(fnn_train_batch, get(), static_cast<const void *const *>(arrays), n, learning_rate, &loss);
        return loss;
    }
    template <class Target>
    double train_epoch(const std::vector<T> &x, const std::vector<Target> &y, std::uint64_t seed, std::uint64_t epoch,
                       double learning_rate) {
        const std::int64_t n = samples(x, y);
        const void *const arrays[] = {x.data(), y.data()};
        double loss = std::numeric_limits<double>::quiet_NaN();
        internal::call(fnn_train_epoch, get(), static_cast<const void *const *>(arrays), n, seed, epoch, learning_rate, &loss);
        return loss;
    }

private:
    template <class Target> std::int64_t samples(const std::vector<T> &x, const std::vector<Target> &y) const {
        if (targets_.size() != 1) throw error("training needs a model that was compiled before it was saved, with one target");
        internal::check_type<Target>(targets_[0]);
        const std::int64_t n = internal::rows_in(x, inputs_[0]);
        if (internal::rows_in(y, targets_[0]) != n) throw error("x and y are not as many rows as each other");
        return n;
    }

    std::unique_ptr<fnn_session, internal::give_back> handle_;
    std::vector<fnn_tensor_info> inputs_, outputs_, targets_;
    std::int64_t max_rows_;
};

}  // namespace fastnn

#endif
