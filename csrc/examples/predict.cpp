/* Prints what a model that fastnn saved says about rows of numbers, all of them at once.
 *
 *   c++ -std=c++11 predict.cpp $(pkg-config --cflags --libs fastnn) -o predict
 *   echo "5.1 3.5 1.4 0.2" | ./predict iris.fnn
 */
#include "fastnn.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>

int main(int argc, char **argv) try {
    if (argc != 2) throw std::runtime_error("usage: predict MODEL < ROWS");
    const fastnn::model model(argv[1]);
    fastnn::session<float> session(model, 256);
    const std::vector<std::string> classes = model.class_names();

    const std::vector<float> x{std::istream_iterator<float>(std::cin), std::istream_iterator<float>()};
    const std::vector<float> y = session.predict(x);
    const std::ptrdiff_t width = static_cast<std::ptrdiff_t>(model.outputs()[0].count);
    for (auto row = y.begin(); row != y.end(); row += width) {
        const auto best = static_cast<std::size_t>(std::max_element(row, row + width) - row);
        std::for_each(row, row + width, [](float value) { std::printf("%.9g ", static_cast<double>(value)); });
        std::printf("%s\n", best < classes.size() ? classes[best].c_str() : "");
    }
    return 0;
} catch (const std::exception &e) {
    std::cerr << e.what() << '\n';
    return 1;
}
