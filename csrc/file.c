/* Model files: fastnn/io.py says what stands in them, fastnn/_safetensors.py how the container is made. Whatever is
 * refused here is refused there. Of the metadata only what running and training need is read; all of it is kept as it
 * stands, for the file that is written later. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, and read as they stand"
#endif

#define FORMAT "fastnn 1"
static const char prefix[] = "{\"__metadata__\":{\"checksum\":\"";
enum { PREFIX = sizeof prefix - 1, DIGITS = 64 };
_Static_assert(8 + PREFIX == FNN_CHECKSUM_AT, "the checksum stands behind the length and the prefix");

static const struct { const char *name; int64_t size; } dtypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
    {"U64", 8}, {"U32", 4}, {"U16", 2}, {"BF16", 2}, {"U8", 1}, {"BOOL", 1}};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* A tensor of a file. */
typedef struct {
    const char *name;                /* UTF-8, `length` bytes and a zero */
    size_t length;
    int dtype, ndim;                 /* dtype: index into dtypes */
    int64_t dim[FNN_MAX_DIMS], begin, bytes;   /* begin: in the file's data */
    /* Where its values are by now. */
    int param, slot;                 /* tensor of the program, -1: none; slot -1: the parameter itself */
    bool counts;                     /* the number of updates */
    void *values;                    /* as they stood in the file, where it is none of these; owned */
} entry;

struct fnn_file {
    char *header;                    /* in which names are decoded */
    entry *entries;                  /* by name while it is read, then in the order of their data */
    int n_entries;
    char *meta;                      /* the metadata but the checksum: from the comma after it on */
    size_t meta_size;
    uint64_t data_at;                /* where its data begin */
    bool optimizer;                  /* it was saved with one, and with the number of updates */
    uint64_t batch_seed;
    double learning_rate;
    char *names;                     /* what the names of columns and classes stand in */
    const char **of[2];              /* columns, classes */
    int count[2];
};

static int damaged(fnn_error *err, const fnn_source *source, const char *what) {
    return fnn_fail(err, FNN_ERR_FORMAT, "%.100s %s; it is damaged or foreign", source->label, what);
}

static int no_memory(fnn_error *err, const fnn_source *source) {
    return fnn_fail(err, FNN_ERR_MEMORY, "out of memory for what stands in %.100s", source->label);
}

static int unreadable(fnn_error *err, const fnn_source *source) {
    return fnn_fail(err, FNN_ERR_FILE, "%.100s cannot be read to its end", source->label);
}

/* ---- the container ---- */

/* Decoded, with a zero behind. */
typedef struct { char *text; size_t length; } word;

static int by_text(const void *a, const void *b) {
    const word *x = a, *y = b;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return memcmp(x->text, y->text, x->length);
}

static bool is(const word *w, const char *text) { return w->text && w->length == strlen(text) && !memcmp(w->text, text, w->length); }

typedef struct { fnn_json text; word format, kind, program, config, compile, names; } metadata;

static int read_metadata(metadata *found, const fnn_source *source, fnn_error *err) {
    const struct { const char *key; word *value; } wanted[] = {
        {"format", &found->format}, {"kind", &found->kind}, {"program", &found->program},
        {"config", &found->config}, {"compile", &found->compile}, {"names", &found->names}};
    word *seen = NULL;
    int n = 0, room = 0, status = FNN_OK;
    fnn_json *j = &found->text;
    do {
        word key, value;
        if (!fnn_json_string(j, &key.text, &key.length) || !fnn_json_take(j, ':') ||
            !fnn_json_string(j, &value.text, &value.length)) {
            status = damaged(err, source, "has metadata that are not text");
            break;
        }
        if (n == room) {
            room = room ? 2 * room : 16;
            word *more = fnn_new((size_t)room, sizeof *more);
            if (more && n) memcpy(more, seen, (size_t)n * sizeof *more);
            fnn_free(seen);
            seen = more;
            if (!seen) return no_memory(err, source);
        }
        seen[n++] = key;
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (is(&key, wanted[i].key)) *wanted[i].value = value;
    } while (status == FNN_OK && fnn_json_take(j, ','));
    qsort(seen, (size_t)n, sizeof *seen, by_text);
    for (int i = 1; i < n; i++)
        if (!by_text(&seen[i - 1], &seen[i])) status = damaged(err, source, "has a key of its metadata twice");
    fnn_free(seen);
    if (status == FNN_OK && !fnn_json_take(j, '}')) status = damaged(err, source, "has metadata that are not text");
    return status;
}

/* What is needed of the file that the metadata describe. */
static int check_metadata(const metadata *m, const fnn_source *source, fnn_error *err) {
    if (!is(&m->format, FORMAT))
        return fnn_fail(err, FNN_ERR_FORMAT, "%.100s has the format '%.20s', this version reads '%s'; %s", source->label,
                        m->format.text ? m->format.text : "", FORMAT,
                        m->format.text && !strncmp(m->format.text, "fastnn ", 7) ? "update fastnn" : "it is foreign");
    if (!is(&m->kind, "model") && !is(&m->kind, "predictor"))
        return fnn_fail(err, FNN_ERR_FORMAT, "%.100s is a file of kind '%.20s', needed is 'model' or 'predictor'",
                        source->label, m->kind.text ? m->kind.text : "");
    if (!m->program.text || !m->config.text) return damaged(err, source, "describes no model");
    if (!fnn_json_utf8(m->program.text, m->program.length)) return damaged(err, source, "has a program that is not UTF-8");
    return FNN_OK;
}

/* {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}, in any order */
static bool read_entry(fnn_json *j, entry *e) {
    bool dtype = false, shape = false, offsets = false;
    int64_t end = 0;
    if (!fnn_json_take(j, '{')) return false;
    do {
        char *key, *text;
        size_t length;
        if (!fnn_json_string(j, &key, &length) || !fnn_json_take(j, ':')) return false;
        if (length == 5 && !strcmp(key, "dtype") && !dtype) {
            if (!fnn_json_string(j, &text, &length)) return false;
            for (e->dtype = 0; e->dtype < DTYPES; e->dtype++)
                if (length == strlen(dtypes[e->dtype].name) && !strcmp(text, dtypes[e->dtype].name)) break;
            if (e->dtype == DTYPES) return false;
            dtype = true;
        } else if (length == 5 && !strcmp(key, "shape") && !shape) {
            if (!fnn_json_take(j, '[')) return false;
            if (!fnn_json_take(j, ']')) {
                do {
                    if (e->ndim == FNN_MAX_DIMS || !fnn_json_natural(j, &e->dim[e->ndim++])) return false;
                } while (fnn_json_take(j, ','));
                if (!fnn_json_take(j, ']')) return false;
            }
            shape = true;
        } else if (length == 12 && !strcmp(key, "data_offsets") && !offsets) {
            if (!fnn_json_take(j, '[') || !fnn_json_natural(j, &e->begin) || !fnn_json_take(j, ',') ||
                !fnn_json_natural(j, &end) || !fnn_json_take(j, ']'))
                return false;
            offsets = true;
        } else {
            return false;
        }
    } while (fnn_json_take(j, ','));
    if (!fnn_json_take(j, '}') || !dtype || !shape || !offsets) return false;
    int64_t count = 1;
    for (int i = 0; i < e->ndim; i++)
        if (e->dim[i] == 0) count = 0;
    for (int i = 0; i < e->ndim && count > 0; i++)
        if (!fnn_mul(count, e->dim[i], &count)) return false;
    if (count > FNN_MAX_ELEMENTS || !fnn_mul(count, dtypes[e->dtype].size, &e->bytes)) return false;
    return end >= e->begin && end - e->begin == e->bytes;
}

static int by_name(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return memcmp(x->name, y->name, x->length);
}

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The table of tensors, from behind the metadata on; sorted by name. `data` bytes follow the header. */
static int read_entries(fnn_json *j, fnn_file *f, int64_t data, const fnn_source *source, fnn_error *err) {
    static const char shortest[] = ",\"\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}";
    int64_t most = 0;
    for (const char *at = j->at; at < j->end; at++) most += *at == '{';   /* each entry has one, a name might */
    if (most > (j->end - j->at) / (int64_t)(sizeof shortest - 1)) most = (j->end - j->at) / (int64_t)(sizeof shortest - 1);
    if (most > FNN_MAX_FILE_TENSORS) most = FNN_MAX_FILE_TENSORS + 1;
    f->entries = fnn_new((size_t)most + 1, sizeof *f->entries);
    if (!f->entries) return no_memory(err, source);
    while (fnn_json_take(j, ',')) {
        if (f->n_entries == FNN_MAX_FILE_TENSORS || f->n_entries == most)
            return damaged(err, source, "holds too many tensors, or describes one wrongly");
        entry *e = &f->entries[f->n_entries];
        *e = (entry){.param = -1, .slot = -1};
        char *name;
        if (!fnn_json_string(j, &name, &e->length) || !fnn_json_take(j, ':'))
            return damaged(err, source, "has a header that is no table of tensors");
        e->name = name;
        if (e->length > FNN_MAX_FILE_NAME) return damaged(err, source, "has a tensor name that is too long");
        if (e->length == 12 && !memcmp(name, "__metadata__", 12)) return damaged(err, source, "has metadata twice");
        if (!read_entry(j, e))
            return fnn_fail(err, FNN_ERR_FORMAT, "%.100s describes the tensor '%.60s' wrongly; it is damaged or foreign",
                            source->label, name);
        f->n_entries++;
    }
    if (!fnn_json_take(j, '}') || !fnn_json_ends(j)) return damaged(err, source, "has a header that is no table of tensors");
    const size_t n = (size_t)f->n_entries;
    qsort(f->entries, n, sizeof *f->entries, by_place);
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (f->entries[i].begin != at) return damaged(err, source, "has tensors that overlap or leave a gap");
        at += f->entries[i].bytes;
    }
    if (at != data) return damaged(err, source, "holds more or fewer bytes than its header names");
    qsort(f->entries, n, sizeof *f->entries, by_name);
    for (size_t i = 1; i < n; i++)
        if (!by_name(&f->entries[i - 1], &f->entries[i])) return damaged(err, source, "has two tensors of one name");
    return FNN_OK;
}

/* Is the file as it was written? */
static int check_digits(const fnn_source *source, const char *header, uint64_t length, fnn_error *err) {
    char zeros[DIGITS], digits[DIGITS], part[16384];
    unsigned char first[8];
    fnn_sha256 s;
    fnn_sha256_begin(&s);
    for (int i = 0; i < 8; i++) first[i] = (unsigned char)(length >> (8 * i));
    memset(zeros, '0', sizeof zeros);
    fnn_sha256_add(&s, first, sizeof first);
    fnn_sha256_add(&s, header, PREFIX);
    fnn_sha256_add(&s, zeros, DIGITS);
    fnn_sha256_add(&s, header + PREFIX + DIGITS, (size_t)length - PREFIX - DIGITS);
    for (uint64_t at = 8 + length; at < source->size;) {
        const size_t n = source->size - at < sizeof part ? (size_t)(source->size - at) : sizeof part;
        if (!source->read(source->context, at, part, n)) return unreadable(err, source);
        fnn_sha256_add(&s, part, n);
        at += n;
    }
    fnn_sha256_end(&s, digits);
    if (memcmp(digits, header + PREFIX, DIGITS) != 0)
        return fnn_fail(err, FNN_ERR_FORMAT,
                        "%.100s does not match its checksum; it is truncated or damaged: copy it again", source->label);
    return FNN_OK;
}

/* ---- what the metadata say beyond the program ---- */

static bool skip_null(fnn_json *j) {
    fnn_json value = *j;
    if (!fnn_json_skip(&value) || value.at - j->at < 4 || memcmp(value.at - 4, "null", 4) != 0) return false;
    *j = value;
    return true;
}

/* An array of texts, all different, at least one; or null. */
static int read_list(fnn_json *j, const char ***list, int *count) {
    if (skip_null(j)) return FNN_OK;
    size_t most = 1, n = 0;
    fnn_json ahead = *j;             /* how many there are, before memory for them is taken */
    if (!fnn_json_take(&ahead, '[')) return FNN_ERR_FORMAT;
    while (fnn_json_skip(&ahead) && fnn_json_take(&ahead, ',')) most++;
    if (!fnn_json_take(&ahead, ']')) return FNN_ERR_FORMAT;
    word *words = fnn_new(most, sizeof *words);
    const char **names = *list = fnn_new(most, sizeof *names);
    int status = words && names ? FNN_OK : FNN_ERR_MEMORY;
    if (status == FNN_OK && !fnn_json_take(j, '[')) status = FNN_ERR_FORMAT;
    do {
        if (status == FNN_OK && (n == most || !fnn_json_string(j, &words[n].text, &words[n].length))) status = FNN_ERR_FORMAT;
        if (status == FNN_OK && !fnn_json_utf8(words[n].text, words[n].length)) status = FNN_ERR_FORMAT;
        if (status == FNN_OK) names[n] = words[n].text;
        n++;
    } while (status == FNN_OK && fnn_json_take(j, ','));
    if (status == FNN_OK && !fnn_json_take(j, ']')) status = FNN_ERR_FORMAT;
    if (status == FNN_OK) {
        qsort(words, n, sizeof *words, by_text);
        for (size_t i = 1; i < n; i++)
            if (!by_text(&words[i - 1], &words[i])) status = FNN_ERR_FORMAT;
        *count = (int)n;
    }
    fnn_free(words);
    return status;
}

/* Names of the columns of the one input, and of the classes of the one output. */
static int read_names(fnn_file *f, const metadata *m, const fnn_program *p, const fnn_source *source, fnn_error *err) {
    static const char *const keys[] = {"features", "classes"};
    const char *what = "has malformed names";
    if (!m->names.text) return FNN_OK;
    f->names = fnn_new(m->names.length + 1, 1);
    if (!f->names) return no_memory(err, source);
    memcpy(f->names, m->names.text, m->names.length);
    fnn_json j = {f->names, f->names + m->names.length};
    if (!fnn_json_take(&j, '{')) return damaged(err, source, what);
    bool seen[2] = {false, false};
    if (!fnn_json_take(&j, '}')) {
        do {
            char *key;
            size_t length;
            int k = 0;
            if (!fnn_json_string(&j, &key, &length) || !fnn_json_take(&j, ':')) return damaged(err, source, what);
            while (k < 2 && (strlen(keys[k]) != length || strcmp(keys[k], key) != 0)) k++;
            if (k == 2 || seen[k]) return damaged(err, source, what);
            seen[k] = true;
            int status = read_list(&j, &f->of[k], &f->count[k]);
            if (status == FNN_ERR_MEMORY) return no_memory(err, source);
            if (status != FNN_OK) return damaged(err, source, what);
        } while (fnn_json_take(&j, ','));
        if (!fnn_json_take(&j, '}')) return damaged(err, source, what);
    }
    if (!fnn_json_ends(&j)) return damaged(err, source, what);
    const fnn_tensor *input = NULL, *output = NULL;
    int inputs = 0, outputs = 0;
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensors[i].kind == KIND_INPUT && inputs++ == 0) input = &p->tensors[i];
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_OUTPUT && outputs++ == 0) output = &p->tensors[p->roots[i].tensor];
    if (f->of[0] && (inputs != 1 || input->ndim != 2 || input->dim[1] != f->count[0]))
        return damaged(err, source, "has names of columns that do not fit its input");
    if (f->of[1]) {
        const int64_t size = outputs != 1 ? -1 : output->ndim > 1 ? output->dim[output->ndim - 1] : 1;
        if (size != f->count[1] && !(size == 1 && f->count[1] == 2))
            return damaged(err, source, "has names of classes that do not fit its output");
    }
    return FNN_OK;
}

/* Goes into the value of a key of an object; `at` stands before it. */
static bool enter_key(fnn_json *j, const char *wanted) {
    if (!fnn_json_take(j, '{')) return false;
    do {
        char *key;
        size_t length;
        if (!fnn_json_string(j, &key, &length) || !fnn_json_take(j, ':')) return false;
        if (length == strlen(wanted) && !strcmp(key, wanted)) return true;
        if (!fnn_json_skip(j)) return false;
    } while (fnn_json_take(j, ','));
    return false;
}

static double read_rate(const metadata *m) {
    double rate = NAN;
    if (!m->compile.text) return rate;
    fnn_json j = {m->compile.text, m->compile.text + m->compile.length};
    if (!enter_key(&j, "optimizer") || !enter_key(&j, "config") || !enter_key(&j, "learning_rate") ||
        !fnn_json_number(&j, &rate))
        return NAN;
    return rate;
}

/* ---- the program's tensors among those of the file ---- */

static entry *find(fnn_file *f, const char *name, size_t length) {
    const entry key = {.name = name, .length = length};
    return bsearch(&key, f->entries, (size_t)f->n_entries, sizeof *f->entries, by_name);
}

static bool is_scalar(const entry *e, const char *dtype) {
    return e && e->ndim == 0 && !strcmp(dtypes[e->dtype].name, dtype);
}

static int dtype_of(fnn_type type) {
    static const char *const names[] = {[TYPE_F32] = "F32", [TYPE_F64] = "F64", [TYPE_I32] = "I32", [TYPE_I8] = "I8",
                                        [TYPE_BF16] = "U16", [TYPE_CSR] = "F32"};
    int i = 0;
    while (strcmp(dtypes[i].name, names[type]) != 0) i++;
    return i;
}

static bool holds(const entry *e, const fnn_tensor *t) {
    const char *found = dtypes[e->dtype].name;
    if (strcmp(found, dtypes[dtype_of(t->type)].name) != 0 && !(t->type == TYPE_BF16 && !strcmp(found, "BF16")))
        return false;
    if (e->ndim != t->ndim) return false;
    for (int i = 0; i < t->ndim; i++)
        if (e->dim[i] != t->dim[i]) return false;
    return true;
}

/* Marks the entry that holds a parameter or a moment of it; FNN_ERR_FORMAT where there is none. */
static int claim(fnn_file *f, const char *name, const fnn_tensor *t, int param, int slot, const fnn_source *source,
                 fnn_error *err) {
    entry *e = find(f, name, strlen(name));
    if (e && e->param >= 0)
        return fnn_fail(err, FNN_ERR_FORMAT, "%.80s has the tensor '%.60s' for two; it is damaged or foreign", source->label, name);
    if (!e || !holds(e, t))
        return fnn_fail(err, FNN_ERR_FORMAT, "%.80s lacks the tensor '%.60s', or holds it in another shape or type; "
                        "it is damaged or foreign", source->label, name);
    e->param = param;
    e->slot = slot;
    return FNN_OK;
}

enum { MOMENT_NAME = FNN_MAX_NAME + 32 };
static void name_moment(char *to, const fnn_tensor *t, int slot) {
    static const char begin[] = "optimizer/slot0/";
    memcpy(to, begin, sizeof begin);
    to[sizeof begin - 3] = (char)('0' + slot);
    strcpy(to + sizeof begin - 1, t->name);
}

/* Has the parameter moments that a file holds? */
static bool has_moments(const fnn_program *p, int tensor) {
    for (int i = 0; i < p->n_nodes; i++)
        if (fnn_ops[p->nodes[i].op].rule == RULE_UPDATE && p->nodes[i].op != OP_moving_average && p->nodes[i].in[0] == tensor)
            return true;
    return false;
}

static bool read_value(const fnn_file *f, const entry *e, void *to, const fnn_source *source) {
    return e->bytes == 0 || source->read(source->context, f->data_at + (uint64_t)e->begin, to, (size_t)e->bytes);
}

static int claim_all(fnn_file *f, const metadata *m, const fnn_program *p, int64_t *iterations, const fnn_source *source,
                     fnn_error *err) {
    static const char counter[] = "optimizer/iterations", seeder[] = "generator/batch_seed", slots[] = "optimizer/slot";
    int status = FNN_OK;
    for (int i = 0; status == FNN_OK && i < p->n_tensors; i++)
        if (p->tensors[i].kind == KIND_PARAM) status = claim(f, p->tensors[i].name, &p->tensors[i], i, -1, source, err);
    f->optimizer = is(&m->kind, "model") && m->compile.text;
    if (status != FNN_OK || !f->optimizer) return status;
    entry *count = find(f, counter, sizeof counter - 1), *seed = find(f, seeder, sizeof seeder - 1);
    if (!is_scalar(count, "I64") || (seed && !is_scalar(seed, "U64")))
        return damaged(err, source, "lacks the number of its updates, or has a malformed seed");
    if (!read_value(f, count, iterations, source) || (seed && !read_value(f, seed, &f->batch_seed, source)))
        return unreadable(err, source);
    count->counts = true;
    if (*iterations < 0 || *iterations > (int64_t)1 << 62) return damaged(err, source, "counts fewer updates than none, or too many");
    bool trained = *iterations > 0;
    for (int i = 0; !trained && i < f->n_entries; i++) trained = !strncmp(f->entries[i].name, slots, sizeof slots - 1);
    for (int i = 0; trained && i < p->n_tensors; i++)
        for (int s = 0; status == FNN_OK && s < p->slots && has_moments(p, i); s++) {
            char name[MOMENT_NAME];
            name_moment(name, &p->tensors[i], s);
            status = claim(f, name, &p->tensors[i], i, s, source, err);
        }
    return status;
}

/* A parameter's values or moments, in the model's order from the file's, piece by piece. */
static bool read_stored(const fnn_model *m, const fnn_file *f, const entry *e, const fnn_source *source) {
    char piece[16 << 10];
    const fnn_param *p = m->params[e->param];
    const int64_t size = (int64_t)fnn_type_size(p->type), most = (int64_t)sizeof piece / size, count = e->bytes / size;
    void *stored = e->slot < 0 ? p->w : m->slots[e->param * FNN_MAX_SLOTS + e->slot];
    if (!p->layout.panel) return read_value(f, e, stored, source);
    for (int64_t at = 0; at < count; at += most) {
        const int64_t n = count - at < most ? count - at : most;
        if (!source->read(source->context, f->data_at + (uint64_t)(e->begin + at * size), piece, (size_t)(n * size))) return false;
        fnn_layout_put(&p->layout, (size_t)size, stored, at, n, piece);
    }
    return true;
}

static int fill(fnn_model *m, fnn_file *f, const fnn_source *source, fnn_error *err) {
    int status = FNN_OK;
    for (int i = 0; status == FNN_OK && i < f->n_entries; i++) {
        entry *e = &f->entries[i];
        if (e->counts) continue;
        if (e->param < 0 && !(e->values = fnn_new((size_t)e->bytes, 1))) status = no_memory(err, source);
        else if (!(e->param < 0 ? read_value(f, e, e->values, source) : read_stored(m, f, e, source)))
            status = unreadable(err, source);
    }
    return status;
}

/* ---- reading ---- */

/* What the header in f->header says, `length` bytes. */
static int read_text(fnn_file *f, uint64_t length, metadata *m, fnn_program *p, int64_t *iterations, const fnn_source *source,
                     fnn_error *err) {
    char *header = f->header;
    f->data_at = 8 + length;
    if (!fnn_json_utf8(header, (size_t)length)) return damaged(err, source, "has a header that is not UTF-8");
    /* The metadata once as they stand, before they are decoded. */
    fnn_json j = {header + PREFIX - strlen("{\"checksum\":\""), header + length};
    if (header[PREFIX + DIGITS] != '"' || !fnn_json_skip(&j)) return damaged(err, source, "has metadata that are not text");
    f->meta_size = (size_t)(j.at - 1 - (header + PREFIX + DIGITS + 1));
    f->meta = fnn_new(f->meta_size + 1, 1);
    if (!f->meta) return no_memory(err, source);
    memcpy(f->meta, header + PREFIX + DIGITS + 1, f->meta_size);
    m->text = (fnn_json){header + PREFIX - strlen("\"checksum\":\""), header + length};
    int status = read_metadata(m, source, err);
    if (status == FNN_OK) status = read_entries(&m->text, f, (int64_t)(source->size - 8 - length), source, err);
    if (status == FNN_OK) status = check_metadata(m, source, err);
    if (status == FNN_OK) {
        uint64_t host = fnn_fp_enter();   /* numbers are read */
        status = fnn_program_parse(m->program.text, m->program.length, p, err);
        f->learning_rate = read_rate(m);
        fnn_fp_restore(host);
    }
    if (status == FNN_OK) status = claim_all(f, m, p, iterations, source, err);
    if (status == FNN_OK) status = read_names(f, m, p, source, err);
    return status;
}

static int read_header(fnn_file *f, metadata *m, fnn_program *p, int64_t *iterations, const fnn_source *source, fnn_error *err) {
    unsigned char start[8 + PREFIX] = {0};
    const size_t begun = source->size < sizeof start ? (size_t)source->size : sizeof start;
    if (!source->read(source->context, 0, start, begun)) return unreadable(err, source);
    if (begun < sizeof start || memcmp(start + 8, prefix, PREFIX) != 0)
        return fnn_fail(err, FNN_ERR_FORMAT, "%.100s is not a fastnn model file; needed is one that Model.save wrote",
                        source->label);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | start[i];
    if (length > FNN_MAX_HEADER || length > source->size - 8 || length < PREFIX + DIGITS + 2)
        return damaged(err, source, "announces a header that it does not have");
    f->header = fnn_new((size_t)length + 1, 1);
    if (!f->header) return no_memory(err, source);
    if (!source->read(source->context, 8, f->header, (size_t)length)) return unreadable(err, source);
    int status = check_digits(source, f->header, length, err);
    return status == FNN_OK ? read_text(f, length, m, p, iterations, source, err) : status;
}

/* Of the data only the number of updates, and a seed that may be any number, decide on anything. */
static bool read_iterations(void *context, uint64_t at, void *to, size_t n) {
    (void)at;
    memcpy(to, context, n);
    return true;
}

int fnn_file_check(const char *header, size_t length, uint64_t size, int64_t updates, const char *label, fnn_error *err) {
    const fnn_source source = {read_iterations, &updates, size, label};
    metadata m = {0};
    fnn_program p = {0};
    int64_t iterations;
    fnn_file *f = fnn_new(1, sizeof *f);
    if (f) f->header = fnn_new(length + 1, 1);
    int status = f && f->header ? FNN_OK : no_memory(err, &source);
    if (status == FNN_OK) {
        memcpy(f->header, header, length);
        status = read_text(f, length, &m, &p, &iterations, &source, err);
    }
    fnn_program_clear(&p);
    fnn_file_free(f);
    return status;
}

int fnn_file_read(const fnn_source *source, fnn_model **out, fnn_error *err) {
    *out = NULL;
    metadata m = {0};
    fnn_program p = {0};
    int64_t iterations = 0;
    fnn_model *made = NULL;
    fnn_file *f = fnn_new(1, sizeof *f);
    if (!f) return no_memory(err, source);
    int status = read_header(f, &m, &p, &iterations, source, err);
    if (status == FNN_OK) status = fnn_model_of(&p, NULL, NULL, 0, &made, err);
    else fnn_program_clear(&p);
    if (status == FNN_OK) status = fill(made, f, source, err);
    if (status == FNN_OK) {
        qsort(f->entries, (size_t)f->n_entries, sizeof *f->entries, by_place);   /* as they are written again */
        fnn_model_set_iterations(made, iterations);
        made->file = f;
        *out = made;
        return FNN_OK;
    }
    fnn_file_free(f);
    fnn_model_free(made);
    return status;
}

void fnn_file_free(fnn_file *f) {
    if (!f) return;
    for (int i = 0; i < f->n_entries; i++) fnn_free(f->entries[i].values);
    fnn_free(f->entries);
    fnn_free(f->header);
    fnn_free(f->meta);
    fnn_free(f->names);
    fnn_free(f->of[0]);
    fnn_free(f->of[1]);
    fnn_free(f);
}

uint64_t fnn_file_batch_seed(const fnn_file *f) { return f ? f->batch_seed : 0; }

typedef struct { const char *bytes; } memory;

static bool read_memory(void *context, uint64_t at, void *to, size_t n) {
    memcpy(to, ((const memory *)context)->bytes + at, n);
    return true;
}

int fnn_open_memory(const void *bytes, size_t size, fnn_model **model, fnn_error *err) {
    if (model) *model = NULL;
    if (!bytes || !model) return fnn_fail(err, FNN_ERR_ARGUMENT, "no bytes, or no place for a model");
    memory from = {bytes};
    const fnn_source source = {read_memory, &from, size, "the file in memory"};
    return fnn_file_read(&source, model, err);
}

/* ---- writing ---- */

typedef struct { fnn_sink write; void *context; fnn_sha256 sha; uint64_t size; bool good; } writer;

static void put(writer *w, const void *bytes, size_t n) {
    w->size += n;
    if (!w->write) return;           /* the size alone is wanted */
    fnn_sha256_add(&w->sha, bytes, n);
    w->good = w->good && w->write(w->context, bytes, n);
}

static void put_text(writer *w, const char *text) { put(w, text, strlen(text)); }

static void put_number(writer *w, int64_t value) {
    char digits[24];
    int at = sizeof digits;
    do digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    put(w, digits + at, sizeof digits - (size_t)at);
}

static void put_unit(writer *w, uint32_t unit) {
    static const char hex[] = "0123456789abcdef";
    const char text[] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
    put(w, text, sizeof text);
}

/* In ASCII alone. The name is of a file that was read, so it is what put_utf8 makes. */
static void put_name(writer *w, const char *name, size_t length) {
    static const char codes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const unsigned char *at = (const unsigned char *)name, *end = at + length;
    put(w, "\"", 1);
    while (at < end) {
        uint32_t c = *at++;
        const char *found = c && c != '/' ? strchr(meant, (int)c) : NULL;
        if (found && c < 0x80) {
            const char escape[] = {'\\', codes[found - meant]};
            put(w, escape, 2);
        } else if (c < 0x20) {
            put_unit(w, c);
        } else if (c < 0x80) {
            put(w, at - 1, 1);
        } else {
            const int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
            c &= 0x3Fu >> more;
            for (int i = 0; i < more; i++) c = c << 6 | (*at++ & 0x3F);
            if (c >= 0x10000) put_unit(w, 0xD800 + ((c - 0x10000) >> 10));
            put_unit(w, c >= 0x10000 ? 0xDC00 + (c & 0x3FF) : c);
        }
    }
    put(w, "\"", 1);
}

/* Entries in the order in which they are written: those of large elements first, so that all are aligned. */
static int listed(const fnn_model *m, entry **list, int *count) {
    const fnn_file *f = m->file;
    const fnn_program *p = &m->program;
    const bool all = f->optimizer && fnn_model_iterations(m) > 0;
    int n = 0, moments = 0;
    for (int i = 0; i < f->n_entries; i++) moments += f->entries[i].slot >= 0;
    const bool lacks = all && moments == 0;
    for (int i = 0; lacks && i < p->n_tensors; i++) moments += has_moments(p, i) ? p->slots : 0;
    entry *made = fnn_new((size_t)(f->n_entries + moments) + 1, sizeof *made), *sorted = NULL;
    if (made) sorted = fnn_new((size_t)(f->n_entries + moments) + 1, sizeof *sorted);
    if (!sorted) {
        fnn_free(made);
        return FNN_ERR_MEMORY;
    }
    int last = -1;                   /* parameter, which the moments stand behind */
    for (int i = 0; i < f->n_entries; i++)
        if (f->entries[i].param >= 0) last = i;
    for (int i = 0; i < f->n_entries; i++) {
        made[n++] = f->entries[i];
        for (int s = 0; lacks && i == last && s < p->slots; s++)
            for (int t = 0; t < p->n_tensors; t++)
                if (has_moments(p, t)) {
                    entry e = {.param = t, .slot = s, .dtype = dtype_of(p->tensors[t].type), .ndim = p->tensors[t].ndim};
                    memcpy(e.dim, p->tensors[t].dim, sizeof e.dim);
                    e.bytes = dtypes[e.dtype].size * p->tensors[t].lead * p->tensors[t].cols;
                    made[n++] = e;
                }
    }
    int at = 0;
    for (int64_t size = 8; size > 0; size /= 2)
        for (int i = 0; i < n; i++)
            if (dtypes[made[i].dtype].size == size) sorted[at++] = made[i];
    fnn_free(made);
    *list = sorted;
    *count = n;
    return FNN_OK;
}

static void put_entries(writer *w, const fnn_model *m, const entry *list, int n) {
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const entry *e = &list[i];
        char name[MOMENT_NAME];
        put_text(w, ",");
        if (e->name) {
            put_name(w, e->name, e->length);
        } else {
            name_moment(name, &m->program.tensors[e->param], e->slot);
            put_name(w, name, strlen(name));
        }
        put_text(w, ":{\"dtype\":\"");
        put_text(w, dtypes[e->dtype].name);
        put_text(w, "\",\"shape\":[");
        for (int d = 0; d < e->ndim; d++) {
            if (d) put_text(w, ",");
            put_number(w, e->dim[d]);
        }
        put_text(w, "],\"data_offsets\":[");
        put_number(w, at);
        put_text(w, ",");
        put_number(w, at += e->bytes);
        put_text(w, "]}");
    }
}

static void put_header(writer *w, const fnn_model *m, const entry *list, int n) {
    char zeros[DIGITS];
    memset(zeros, '0', sizeof zeros);
    put_text(w, prefix);
    put(w, zeros, DIGITS);
    put_text(w, "\"");
    put(w, m->file->meta, m->file->meta_size);
    put_text(w, "}");
    put_entries(w, m, list, n);
    put_text(w, "}");
    while (w->size % 8) put_text(w, " ");
}

static void put_values(writer *w, fnn_model *m, const entry *e, void *row_major) {
    if (e->counts) {
        const int64_t made = fnn_model_iterations(m);
        put(w, &made, sizeof made);
    } else if (e->param < 0) {
        put(w, e->values, (size_t)e->bytes);
    } else {
        const fnn_param *p = m->params[e->param];
        fnn_layout_read(&p->layout, fnn_type_size(p->type), e->slot < 0 ? p->w : m->slots[e->param * FNN_MAX_SLOTS + e->slot],
                        row_major);
        put(w, row_major, (size_t)e->bytes);
    }
}

int fnn_file_write(fnn_model *m, fnn_sink write, void *context, char checksum[64], fnn_error *err) {
    if (!m->file)
        return fnn_fail(err, FNN_ERR_STATE, "the model was not opened from a file, so it cannot be written to one");
    entry *list = NULL;
    int n = 0;
    int64_t most = 0;
    fnn_model_hold(m, false);
    int status = listed(m, &list, &n);
    for (int i = 0; status == FNN_OK && i < n; i++)
        if (list[i].param >= 0 && list[i].bytes > most) most = list[i].bytes;
    void *row_major = status == FNN_OK ? fnn_new((size_t)most, 1) : NULL;
    if (row_major) {
        writer measure = {.good = true}, w = {.write = write, .context = context, .good = true};
        unsigned char length[8];
        put_header(&measure, m, list, n);
        for (int i = 0; i < 8; i++) length[i] = (unsigned char)(measure.size >> (8 * i));
        fnn_sha256_begin(&w.sha);
        put(&w, length, sizeof length);
        put_header(&w, m, list, n);
        for (int i = 0; i < n && w.good; i++) put_values(&w, m, &list[i], row_major);
        fnn_sha256_end(&w.sha, checksum);
        if (measure.size > FNN_MAX_HEADER)
            status = fnn_fail(err, FNN_ERR_LIMIT, "a model file's header holds at most %lld bytes, got %lld",
                              (long long)FNN_MAX_HEADER, (long long)measure.size);
        else if (!w.good) status = FNN_ERR_FILE;
    } else {
        status = fnn_fail(err, FNN_ERR_MEMORY, "out of memory to write the model");
    }
    fnn_model_let_go(m, false);
    fnn_free(row_major);
    fnn_free(list);
    return status;
}

/* ---- queries ---- */

static bool is_of_kind(const fnn_tensor *t, int kind) {
    switch (kind) {
    case FNN_INPUTS: return t->kind == KIND_INPUT;
    case FNN_TARGETS: return t->kind == KIND_TARGET;
    case FNN_SAMPLE_WEIGHTS: return t->kind == KIND_WEIGHT;
    default: return kind == FNN_PARAMETERS && t->kind == KIND_PARAM;
    }
}

static int tensor_at(const fnn_model *m, int kind, int index, fnn_tensor_info *info) {
    const fnn_program *p = &m->program;
    int id = -1, seen = 0;
    const char *name = NULL;
    for (int i = 0; i < p->n_roots && kind == FNN_OUTPUTS; i++)
        if (p->roots[i].kind == ROOT_OUTPUT && seen++ == index) {
            id = p->roots[i].tensor;
            name = p->roots[i].name;
        }
    for (int i = 0; i < p->n_tensors && kind != FNN_OUTPUTS; i++)
        if (is_of_kind(&p->tensors[i], kind) && seen++ == index) id = i;
    if (id < 0 || !info) return seen;
    const fnn_tensor *t = &p->tensors[id];
    *info = (fnn_tensor_info){.id = id, .dtype = fnn_type_dtype(t->type), .sparse = t->type == TYPE_CSR, .trained = t->updated,
                              .ndim = t->ndim, .count = t->lead * t->cols, .name = name ? name : t->name};
    if (t->type == TYPE_CSR && p->real == TYPE_F64) info->dtype = FNN_F64;
    for (int i = 0; i < t->ndim; i++) info->shape[i] = i == 0 && t->batched ? -1 : t->dim[i];
    return seen;
}

static const char *result_at(const fnn_model *m, int index, int *count) {
    static const fnn_root_kind kinds[] = {ROOT_LOSS, ROOT_METRIC, ROOT_PENALTY};
    const char *name = NULL;
    *count = 0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < m->program.n_roots; i++)
            if (m->program.roots[i].kind == kinds[k] && (*count)++ == index) name = m->program.roots[i].name;
    return name;
}

int fnn_model_count(const fnn_model *m, int kind) {
    int count;
    if (!m || kind < FNN_INPUTS || kind > FNN_RESULT_NAMES) return -1;
    if (kind <= FNN_PARAMETERS) return tensor_at(m, kind, -1, NULL);
    if (kind == FNN_RESULT_NAMES) return result_at(m, -1, &count), count;
    return m->file ? m->file->count[kind - FNN_FEATURE_NAMES] : 0;
}

int fnn_model_tensor(const fnn_model *m, int kind, int index, fnn_tensor_info *info, fnn_error *err) {
    if (!m || !info) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model, or no place for what is known of it");
    fnn_error own;
    int status = FNN_OK;
    if (kind < FNN_INPUTS || kind > FNN_PARAMETERS || index < 0 || tensor_at(m, kind, index, info) <= index)
        status = fnn_fail(&own, FNN_ERR_ARGUMENT, "the model has no tensor %d of kind %d: fnn_model_count says how many", index,
                          kind);
    return fnn_model_told((fnn_model *)(uintptr_t)m, status, &own, err);
}

const char *fnn_model_name(const fnn_model *m, int kind, int index) {
    int count;
    if (index < 0 || index >= fnn_model_count(m, kind)) return NULL;
    if (kind == FNN_RESULT_NAMES) return result_at(m, index, &count);
    if (kind > FNN_PARAMETERS) return m->file->of[kind - FNN_FEATURE_NAMES][index];
    fnn_tensor_info info;
    tensor_at(m, kind, index, &info);
    return info.name;
}

double fnn_model_learning_rate(const fnn_model *m) { return m && m->file ? m->file->learning_rate : NAN; }

static int check_id(const fnn_model *m, int id, const void *values, fnn_error *err) {
    if (id < 0 || id >= m->program.n_tensors || !m->params[id])
        return fnn_fail(err, FNN_ERR_ARGUMENT, "tensor %d is no parameter; fnn_model_tensor gives the ids", id);
    return values ? FNN_OK : fnn_fail(err, FNN_ERR_ARGUMENT, "no values");
}

int fnn_get_parameter(fnn_model *m, int id, void *values, int64_t count, fnn_error *err) {
    if (!m) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model");
    fnn_error own;
    int status = check_id(m, id, values, &own);
    if (status == FNN_OK) status = fnn_param_read(m->params[id], values, count, &own);
    return fnn_model_told(m, status, &own, err);
}

int fnn_set_parameter(fnn_model *m, int id, const void *values, int64_t count, fnn_error *err) {
    if (!m) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model");
    fnn_error own;
    int status = check_id(m, id, values, &own);
    if (status == FNN_OK) status = fnn_param_write(m->params[id], values, count, &own);
    return fnn_model_told(m, status, &own, err);
}

/* ---- to memory ---- */

typedef struct { char *bytes; size_t capacity, size; } buffer;

static bool write_memory(void *context, const void *bytes, size_t n) {
    buffer *b = context;
    if (b->bytes && b->size + n <= b->capacity) memcpy(b->bytes + b->size, bytes, n);
    b->size += n;
    return true;
}

int fnn_save_memory(fnn_model *m, void *bytes, size_t capacity, size_t *size, fnn_error *err) {
    if (!m || !size) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model, or no place for the size");
    fnn_error own;
    buffer to = {bytes, bytes ? capacity : 0, 0};
    char checksum[DIGITS];
    int status = fnn_file_write(m, write_memory, &to, checksum, &own);
    *size = to.size;
    if (status == FNN_OK && to.size > to.capacity)
        status = fnn_fail(&own, FNN_ERR_ARGUMENT, "the file takes %lld bytes, there is room for %lld", (long long)to.size,
                          (long long)to.capacity);
    if (status == FNN_OK) memcpy((char *)bytes + FNN_CHECKSUM_AT, checksum, DIGITS);
    return fnn_model_told(m, status, &own, err);
}
