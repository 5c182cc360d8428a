/* Mutated model files through all that the public header does with one: opened, asked, run, trained, saved, opened
 * again.
 *
 *   fuzz_file [--files N] [--seed S] [--first I] [--keep FOLDER] [--show] FILE...
 *
 * Case i of a seed is the same file in every run: first the files given as they are, then mutated ones. Bytes are
 * changed anywhere, and, with the checksum made right again, so are the parts of the header: lengths, shapes, offsets,
 * types, names, escapes, doubled keys, the lines of the program, and sizes wherever they stand. A failure is a crash,
 * memory that is not given back, more than a second or the file's size and 32 MiB to open it, a status without text, or
 * a model that its own file does not give back. --show writes each file, its status and its size before it, for another
 * reader's verdict. Where libFuzzer is the driver (-DFNN_LIBFUZZER), it makes the
 * mutations. */
#include "../engine.h"
#include "sealed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <malloc.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>
#endif

#define MEMORY ((size_t)32 << 20)        /* to open a file, beyond its size */
#define ALL_MEMORY ((size_t)256 << 20)   /* there is no more: sessions of hostile programs ask for any amount */
#define SECONDS 1.0
#define HANG 20                          /* seconds of the processor */

static int failed;
static long long now_case = -1;
static const unsigned char *now_bytes;
static size_t now_size;
static const char *keep;
static bool show;

/* Writes the file at hand; of a signal handler, so by system calls alone where there are any. */
static void keep_case(void) {
    char path[600];
    if (!keep || !now_bytes) return;
    snprintf(path, sizeof path, "%s/%lld.fnn", keep, now_case);
    FILE *f = fopen(path, "wb");
    if (!f) return;
    fwrite(now_bytes, 1, now_size, f);
    fclose(f);
}

static void fault(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("case %lld: ", now_case);
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    va_end(args);
    failed++;
    keep_case();
#ifdef FNN_LIBFUZZER
    abort();
#endif
}
#define CHECK(condition, ...) do { if (!(condition)) fault(__VA_ARGS__); } while (0)

/* ---- random choices: splitmix64 ---- */

static uint64_t state;
static uint64_t draw(void) {
    uint64_t z = state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}
static size_t below(size_t n) { return n ? (size_t)(draw() % n) : 0; }
static bool one_in(size_t n) { return below(n) == 0; }
#define PICK(table) (table)[below(sizeof(table) / sizeof *(table))]

/* ---- memory that is counted ---- */

static size_t live_bytes, peak_bytes;
static long live_blocks;

#if defined(__linux__)
static size_t size_of(void *p) { return malloc_usable_size(p); }
#else
static size_t size_of(void *p) { return 0 * (size_t)p; }
#endif

/* AddressSanitizer maps and unmaps each block as large as a thread's scratch; one is kept, poisoned meanwhile. */
#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(const volatile void *p, size_t n);
void __asan_unpoison_memory_region(const volatile void *p, size_t n);
static void *spare;
static bool is_kept(size_t bytes) { return bytes == FNN_SCRATCH; }
#endif

static void *take_block(size_t bytes, size_t alignment, void *context) {
    (void)context;
    void *p;
    if (bytes > ALL_MEMORY || live_bytes + bytes > ALL_MEMORY) return NULL;
#if defined(__SANITIZE_ADDRESS__)
    if (is_kept(bytes) && spare) {
        p = spare;
        spare = NULL;
        __asan_unpoison_memory_region(p, bytes);
    } else if (posix_memalign(&p, alignment < 64 ? 64 : alignment, bytes)) p = NULL;
#elif defined(_WIN32)
    p = _aligned_malloc(bytes, alignment);
#else
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes)) p = NULL;
#endif
    if (!p) return NULL;
    live_blocks++;
    live_bytes += size_of(p);
    if (live_bytes > peak_bytes) peak_bytes = live_bytes;
    return p;
}

static void give_block_back(void *p, void *context) {
    (void)context;
    if (!p) return;
    live_blocks--;
    live_bytes -= size_of(p);
#if defined(__SANITIZE_ADDRESS__)
    if (is_kept(size_of(p)) && !spare) {
        __asan_poison_memory_region(p, size_of(p));
        spare = p;
    } else free(p);
#elif defined(_WIN32)
    _aligned_free(p);
#else
    free(p);
#endif
}

static void *own(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (p) return p;
    printf("fuzz_file: out of memory\n");
    exit(2);
}

static double seconds(void) {
#if defined(_WIN32)
    return (double)clock() / CLOCKS_PER_SEC;
#else
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
}

/* ---- text that grows ---- */

typedef struct { char *p; size_t n, room; } text;
typedef struct { const char *p; size_t n; } span;

static void reserve(text *t, size_t more) {
    if (t->n + more + 1 <= t->room) return;
    t->room = (t->n + more + 1) * 2;
    t->p = realloc(t->p, t->room);
    if (!t->p) exit(2);
}
static void add(text *t, const void *p, size_t n) {
    reserve(t, n);
    if (n) memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}
static void add_text(text *t, const char *s) { add(t, s, strlen(s)); }
static void add_format(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_format(text *t, const char *format, ...) {
    char s[200];
    va_list args;
    va_start(args, format);
    vsnprintf(s, sizeof s, format, args);
    va_end(args);
    add_text(t, s);
}
/* Puts s in the place of [at, at + n). */
static void splice(text *t, size_t at, size_t n, const void *s, size_t length) {
    static text rest;                /* AddressSanitizer's memmove goes byte by byte */
    if (at > t->n) at = t->n;        /* what was found there may be gone by now */
    if (n > t->n - at) n = t->n - at;
    rest.n = 0;
    add(&rest, t->p + at + n, t->n - at - n);
    reserve(t, length);
    memcpy(t->p + at + length, rest.p, rest.n);
    if (length) memcpy(t->p + at, s, length);
    t->n = t->n - n + length;
    t->p[t->n] = 0;
}
static void splice_text(text *t, size_t at, size_t n, const char *s) { splice(t, at, n, s, strlen(s)); }

/* ---- a file in its parts: texts of the header stand as they do in JSON, but for the ends of a program's lines ---- */

enum { MAX_META = 24, MAX_FILE_TENSORS = 200 };
typedef struct { text key, value; } meta;
typedef struct { text name, dtype, shape, data; } stored;
typedef struct { meta meta[MAX_META]; stored tensor[MAX_FILE_TENSORS]; int n_meta, n_tensors; } file;

typedef struct { unsigned char *bytes; size_t size; file *parts; } seed;
static seed *seeds;
static int n_seeds;

static void clear(file *f) { f->n_meta = f->n_tensors = 0; }
static void set(text *t, span s) { t->n = 0; add(t, s.p, s.n); }

/* A string of JSON from its first byte after the quote. */
static span string_at(const char **at) {
    span s = {*at, 0};
    while ((*at)[0] != '"') *at += (*at)[0] == '\\' ? 2 : 1;
    s.n = (size_t)(*at - s.p);
    ++*at;
    return s;
}

static int64_t number_at(const char **at) {
    char *end;
    int64_t n = strtoll(*at, &end, 10);
    *at = end;
    return n;
}

static void add_escaped_lines(text *to, const text *from) {
    for (size_t i = 0; i < from->n;) {
        const char *end = memchr(from->p + i, '\n', from->n - i);
        const size_t n = end ? (size_t)(end - from->p) - i : from->n - i;
        add(to, from->p + i, n);
        if (end) add(to, "\\n", 2);
        i += n + (end != NULL);
    }
}

/* Reads what fastnn wrote, without a check. */
static void read_parts(const seed *s, file *f) {
    uint64_t length = 0;
    memcpy(&length, s->bytes, 8);
    char *header = own(length + 1);
    memcpy(header, s->bytes + 8, length);
    header[length] = 0;
    const unsigned char *data = s->bytes + 8 + length;
    const char *at = header + sizeof file_prefix - 1 + 64 + 1;
    while (*at == ',' && f->n_meta < MAX_META) {
        at += 2;
        meta *m = &f->meta[f->n_meta++];
        set(&m->key, string_at(&at));
        at += 2;
        set(&m->value, string_at(&at));
        if (m->key.n == 7 && !memcmp(m->key.p, "program", 7)) {
            size_t to = 0;
            for (size_t i = 0; i < m->value.n; i++) {
                const bool ends = m->value.p[i] == '\\' && m->value.p[i + 1] == 'n';
                m->value.p[to++] = ends ? '\n' : m->value.p[i];
                i += ends;
            }
            m->value.n = to;
            m->value.p[to] = 0;
        }
    }
    if (f->n_meta == MAX_META) { free(header); return; }
    at++;
    while (*at == ',' && f->n_tensors < MAX_FILE_TENSORS) {
        at += 2;
        stored *t = &f->tensor[f->n_tensors++];
        set(&t->name, string_at(&at));
        at = strchr(at, '{') + sizeof "{\"dtype\":\"" - 1;
        set(&t->dtype, string_at(&at));
        at = strchr(at, '[') + 1;
        const char *end = strchr(at, ']');
        set(&t->shape, (span){at, (size_t)(end - at)});
        at = strchr(end, '[') + 1;
        int64_t first = number_at(&at);
        at++;
        int64_t last = number_at(&at);
        set(&t->data, (span){(const char *)data + first, (size_t)(last - first)});
        at += 2;
    }
    free(header);
}

/* A copy of a seed's parts. */
static void take_apart(const seed *s, file *f) {
    f->n_meta = s->parts->n_meta;
    f->n_tensors = s->parts->n_tensors;
    for (int i = 0; i < f->n_meta; i++) {
        set(&f->meta[i].key, (span){s->parts->meta[i].key.p, s->parts->meta[i].key.n});
        set(&f->meta[i].value, (span){s->parts->meta[i].value.p, s->parts->meta[i].value.n});
    }
    for (int i = 0; i < f->n_tensors; i++) {
        const stored *from = &s->parts->tensor[i];
        stored *t = &f->tensor[i];
        set(&t->name, (span){from->name.p, from->name.n});
        set(&t->dtype, (span){from->dtype.p, from->dtype.n});
        set(&t->shape, (span){from->shape.p, from->shape.n});
        set(&t->data, (span){from->data.p, from->data.n});
    }
}

static text *find_meta(file *f, const char *key) {
    for (int i = 0; i < f->n_meta; i++)
        if (f->meta[i].key.n == strlen(key) && !memcmp(f->meta[i].key.p, key, f->meta[i].key.n)) return &f->meta[i].value;
    return NULL;
}

/* ---- mutations ---- */

static const char *const numbers[] = {
    "0", "1", "2", "3", "4", "5", "7", "8", "15", "16", "17", "31", "32", "33", "63", "64", "65", "127", "128", "255", "256",
    "1000", "4096", "65534", "65535", "65536", "1000000", "2147483647", "2147483648", "4294967295", "4294967296",
    "1099511627776", "1099511627777", "4611686018427387904", "4611686018427387905", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "-1", "-0", "00", "01", "1.0", "1e3", "1E2", "0x1", "", " 1", "1 ", "+1",
    "B", "-", "true", "null", "NaN", "99999999999999999999999999999999999999999999", "[]", "{}", "\"1\"", "B,1"};
static const char *const reals[] = {
    "0x0.0p+0", "-0x0.0p+0", "0x1.0000000000000p+0", "0x1p+0", "0x1p-1", "-0x1p+0", "0x1.fffffffffffffp+1023", "0x1p-1074",
    "0x1p+1024", "0x1p-2000", "0x1p+9999", "0x1p+2001", "0x1.p+0", "0x2p+0", "0x1.00000000000000p+0", "0xap+3", "0x1p0", "0x1P+0",
    "inf", "nan", "1.0", "0x1.8p+2", "0x1.0p+16", "0x1.cp+2", "0x1p+40", "-0x1p+63", "0x1p+64", "0x1.ffffp+15", "-", "",
    "0x1.18p+5", "0x1.4p+4", "0x1.ap+2", "0x1.8p+0", "0x1.47ae147ae147bp-7", "0x1.fffffffffffffp-1"};
static const char *const dtypes[] = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "BF16", "U8", "BOOL",
                                     "F8_E4M3", "f32", "", "F\\u00332"};
static const char *const strings[] = {
    "", "x", "\\u0000", "\\n", "\\\"", "\\\\", "\\/", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\\u00e9", "\xc3\xa9", "\xff", "\xc0\x80",
    "\xed\xa0\x80", "\xf4\x90\x80\x80", "\\x41", "\\u12", "\\", "\x01", "\x7f", "__metadata__", "checksum", "program", "format", "kind",
    "fastnn 1", "fastnn 2", "fastnn 1 ", "model", "predictor", "weights", "checkpoint", "optimizer/iterations", "h/kernel",
    "optimizer/slot0/h/kernel", "optimizer/slot2/y/bias", "config", "compile", "names", "features", "{}", "[]", "null", "{\\\"a\\\":1}",
    "{\\\"features\\\":[\\\"a\\\"],\\\"classes\\\":[\\\"b\\\"]}", "{\\\"optimizer\\\":{\\\"config\\\":{\\\"learning_rate\\\":1e999}}}"};
static const char *const words[] = {"tensor", "node", "root", "input", "target", "weight", "param", "temp", "float32", "float64",
                                    "int32", "int8", "bfloat16", "csr", "output", "loss", "metric", "penalty", "grad", "tally",
                                    "dtype", "mixed_bfloat16", "fastnn-program", "x", "pack", "unpack", "B", "-1"};
static const char *const shapes[] = {"-", "B", "1", "B,1", "B,3", "3,3", "B,2,2", "1,1,1,1,1,1,1,1", "1,1,1,1,1,1,1,1,1", "B,1000000000",
                                     "1048576,1048576", "1048577,1048576", "0", "B,0", "3,B", "B,B", "1099511627776", "B,B,1", "5,37"};

/* Bytes changed, cut out, doubled, moved. */
static void damage(text *t) {
    for (size_t k = 1 + (one_in(2) ? below(5) : 0); k > 0 && t->n > 0; k--) {
        size_t at = below(t->n), n = (size_t)1 << below(8);
        if (n > t->n - at) n = t->n - at;
        switch (below(8)) {
        case 0: t->p[at] ^= (char)(1 << below(8)); break;
        case 1: t->p[at] = (char)draw(); break;
        case 2: {
            static const uint64_t wide[] = {0, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, 1, 0x7ff0000000000000, 0x7fc000007fc00000};
            uint64_t value = PICK(wide);
            memcpy(t->p + at, &value, t->n - at < 8 ? t->n - at : 8);
            break;
        }
        case 3: splice(t, at, n, NULL, 0); break;
        case 4: {
            char *copy = own(n);
            memcpy(copy, t->p + at, n);
            splice(t, at, 0, copy, n);
            free(copy);
            break;
        }
        case 5: {
            size_t to = below(t->n - n + 1);
            memmove(t->p + to, t->p + at, n);
            break;
        }
        case 6: if (one_in(4)) t->n = at; break;
        default: for (size_t i = 0; i < n; i++) t->p[at + i] = (char)draw();
        }
    }
}

/* A token of text, between blanks, commas and line ends, from a random place on. */
static span token(const text *t, const char *marks) {
    if (!t->n) return (span){t->p, 0};
    size_t at = below(t->n), end;
    while (at > 0 && !strchr(marks, t->p[at - 1])) at--;
    for (end = at; end < t->n && (t->p[end] == 0 || !strchr(marks, t->p[end])); end++) { }
    return (span){t->p + at, end - at};
}

static span line_of(const text *t) {
    if (!t->n) return (span){t->p, 0};
    size_t at = below(t->n), end;
    while (at > 0 && t->p[at - 1] != '\n') at--;
    for (end = at; end < t->n && t->p[end] != '\n'; end++) { }
    return (span){t->p + at, end + (end < t->n) - at};
}

/* Every number `from` becomes `to`. */
static void replace_number(text *t, span from, const char *to) {
    for (size_t at = 0; at + from.n <= t->n; at++) {
        if (memcmp(t->p + at, from.p, from.n)) continue;
        bool begins = at == 0 || strchr(" ,", t->p[at - 1]), ends = at + from.n == t->n || strchr(" ,\n", t->p[at + from.n]);
        if (begins && ends) {
            splice_text(t, at, from.n, to);
            at += strlen(to);
        }
    }
}

static size_t bytes_per(const text *dtype) {
    if (dtype->n == 0) return 1;
    switch (dtype->p[dtype->n - 1]) {
    case '4': return 8;
    case '2': return 4;
    case '6': return 2;
    default: return 1;
    }
}

/* The data of a tensor made as long as its shape says, where that is no size to speak of. */
static void fit_data(stored *t) {
    int64_t count = 1;
    char shape[300];
    snprintf(shape, sizeof shape, "%.*s", (int)(t->shape.n < 299 ? t->shape.n : 299), t->shape.n ? t->shape.p : "");
    for (char *at = shape; *at;) {
        char *end;
        long long n = strtoll(at, &end, 10);
        if (end == at || n < 0 || n > 100000) return;
        if ((count *= n) > 100000) return;
        at = end + (*end == ',');
    }
    size_t bytes = (size_t)count * bytes_per(&t->dtype), had = t->data.n;
    if (bytes > had) {
        reserve(&t->data, bytes - had);
        for (size_t i = had; i < bytes; i++) t->data.p[i] = had ? t->data.p[i % had] : (char)draw();
    }
    t->data.n = bytes;
}

/* A size changed wherever it stands: in the program, in the shapes of the file's tensors, in the data. */
static void change_size(file *f) {
    text *program = find_meta(f, "program");
    if (!program) return;
    span t = token(program, " ,\n");
    char from[24];
    if (t.n == 0 || t.n > 6 || strspn(t.p, "0123456789") < t.n) return;
    snprintf(from, sizeof from, "%.*s", (int)t.n, t.p);
    static const char *const sizes[] = {"1", "2", "3", "4", "5", "6", "8", "9", "15", "16", "17", "31", "32", "33", "48", "65", "100", "257"};
    const char *to = one_in(20) ? PICK(numbers) : PICK(sizes);
    span old = {from, strlen(from)};
    /* Identifiers of tensors that are such numbers are left as they are: shapes come behind four words. */
    static text made, shape;
    made.n = 0;
    for (size_t at = 0; at < program->n;) {
        const char *line = program->p + at, *end = memchr(line, '\n', program->n - at);
        const size_t n = end ? (size_t)(end - line) + 1 : program->n - at;
        size_t from_shape = 0, words_seen = 0, to_shape;
        if (n > 7 && !memcmp(line, "tensor ", 7))
            while (from_shape < n && words_seen < 4) words_seen += line[from_shape++] == ' ';
        for (to_shape = from_shape; words_seen == 4 && to_shape < n && line[to_shape] != ' ' && line[to_shape] != '\n'; to_shape++) { }
        set(&shape, (span){line + from_shape, to_shape - from_shape});
        if (shape.n) replace_number(&shape, old, to);
        add(&made, line, from_shape);
        add(&made, shape.p, shape.n);
        add(&made, line + to_shape, n - to_shape);
        at += n;
    }
    set(program, (span){made.p, made.n});
    for (int i = 0; i < f->n_tensors; i++) {
        replace_number(&f->tensor[i].shape, old, to);
        fit_data(&f->tensor[i]);
    }
}

static int count_lines(const text *t, const char *word) {
    int n = 0;
    size_t length = strlen(word);
    for (size_t at = 0; at < t->n; at++)
        n += (at == 0 || t->p[at - 1] == '\n') && t->n - at > length && !memcmp(t->p + at, word, length) && t->p[at + length] == ' ';
    return n;
}

static void add_attrs(text *t, const fnn_op_info *info) {
    int n = *info->attrs != 0;
    for (const char *c = info->attrs; *c; c++) n += *c == ',';
    for (int i = 0; i < n; i++) {
        add(t, i ? "," : "", i > 0);
        if (one_in(3)) add_text(t, PICK(reals));
        else add_format(t, "%a", one_in(2) ? (double)below(4) : (double)below(64) / 64);   /* glibc writes as Python does, near enough */
    }
    if (!n) add(t, "-", 1);
}

/* An op that takes a place where the shapes may fit, with its output as one more of the model's. */
static void add_node(text *p) {
    int tensors = count_lines(p, "tensor"), n_in, n_out;
    if (tensors == 0) return;
    const fnn_op_info *info = &fnn_ops[below(OP_COUNT)];
    n_in = info->inputs < 0 ? 1 + (int)below(4) : info->inputs;
    n_out = info->outputs;
    text made = {0};
    const char *real = strstr(p->p, "dtype float64") ? "float64" : "float32";
    char shape[64] = "B,3";
    span line = line_of(p);
    if (line.n > 8 && !memcmp(line.p, "tensor ", 7)) {
        size_t i = 0, seen = 0;
        while (i < line.n && seen < 4) seen += line.p[i++] == ' ';
        size_t n = 0;
        while (i + n < line.n && !strchr(" \n", line.p[i + n])) n++;
        if (n < sizeof shape) snprintf(shape, sizeof shape, "%.*s", (int)n, line.p + i);
    } else {
        snprintf(shape, sizeof shape, "%s", PICK(shapes));
    }
    for (int i = 0; i < n_out; i++)
        add_format(&made, "tensor %d temp %s %s\n", tensors + i, real, i && one_in(2) ? PICK(shapes) : shape);
    add_format(&made, "node %s ", info->name);
    int again = (int)below((size_t)tensors);
    for (int i = 0; i < n_in; i++) add_format(&made, "%s%d", i ? "," : "", one_in(2) ? again : (int)below((size_t)tensors));
    add_text(&made, n_in ? " " : "- ");
    for (int i = 0; i < n_out; i++) add_format(&made, "%s%d", i ? "," : "", tensors + i);
    add_text(&made, n_out ? " " : "- ");
    add_attrs(&made, info);
    add_text(&made, "\n");
    static const char *const kinds[] = {"output", "output", "output", "tally", "penalty", "loss", "metric", "grad"};
    const char *kind = PICK(kinds);
    if (n_out) {
        add_format(&made, "root %s %d", kind, tensors);
        if (*kind == 'l' || *kind == 'm') add_text(&made, " -1 0x1.0000000000000p+0");
        if (*kind == 'g') add_format(&made, " %d", (int)below((size_t)tensors));
        else if (*kind != 'p') add_text(&made, " more");
        add_text(&made, "\n");
    }
    /* Before the first update, where there is one. */
    size_t at = p->n;
    for (size_t i = 0; i + 5 < p->n; i++)
        if ((i == 0 || p->p[i - 1] == '\n') && !memcmp(p->p + i, "node ", 5)) {
            const char *end = memchr(p->p + i, '\n', p->n - i);
            const char *blank = end ? memchr(p->p + i + 5, ' ', (size_t)(end - p->p) - i - 5) : NULL;
            const char *second = blank ? memchr(blank + 1, ' ', (size_t)(end - blank) - 1) : NULL;
            if (second && second[1] == '-' && second[2] == ' ') { at = i; break; }
        }
    splice(p, at, 0, made.p, made.n);
    free(made.p);
}

/* The op of a node becomes another. */
static void change_op(text *p) {
    span line = line_of(p);
    if (line.n < 6 || memcmp(line.p, "node ", 5)) return;
    size_t at = (size_t)(line.p - p->p) + 5, n = 0;
    while (at + n < p->n && p->p[at + n] != ' ') n++;
    const fnn_op_info *old = NULL, *info;
    for (int i = 0; i < OP_COUNT; i++)
        if (strlen(fnn_ops[i].name) == n && !memcmp(fnn_ops[i].name, p->p + at, n)) old = &fnn_ops[i];
    int tries = 0;
    do info = &fnn_ops[below(OP_COUNT)];
    while (old && (info->inputs != old->inputs || info->outputs != old->outputs) && ++tries < 50);
    size_t end = at + n;
    while (end < p->n && p->p[end] != '\n') end++;
    size_t attrs = end;
    while (attrs > at && p->p[attrs - 1] != ' ') attrs--;
    text made = {0};
    add_attrs(&made, info);
    splice(p, attrs, end - attrs, made.p, made.n);
    splice_text(p, at, n, info->name);
    free(made.p);
}

static void mutate_program(text *p, const file *other) {
    switch (below(12)) {
    case 0: case 1: {   /* a token: a number, a real, a word, another token of this or another program */
        span t = token(p, " ,\n");
        size_t at = (size_t)(t.p - p->p);
        if (!p->n) break;
        if (one_in(3)) splice_text(p, at, t.n, PICK(numbers));
        else if (one_in(3)) splice_text(p, at, t.n, t.n > 2 && t.p[1] == 'x' ? PICK(reals) : PICK(words));
        else if (one_in(4)) splice_text(p, at, t.n, PICK(shapes));
        else if (one_in(4)) splice_text(p, at, t.n, fnn_ops[below(OP_COUNT)].name);
        else {
            span o = token(p, " ,\n");
            char copy[100];
            size_t n = o.n < sizeof copy ? o.n : sizeof copy;
            memcpy(copy, o.p, n);
            splice(p, at, t.n, copy, n);
        }
        break;
    }
    case 2: {           /* a number, one more or less */
        span t = token(p, " ,\n");
        if (t.n == 0 || t.n > 9 || t.p[0] < '0' || t.p[0] > '9') break;
        char made[24];
        snprintf(made, sizeof made, "%ld", strtol(t.p, NULL, 10) + (one_in(2) ? 1 : -1));
        splice_text(p, (size_t)(t.p - p->p), t.n, made);
        break;
    }
    case 3: {           /* a line: out, doubled, or elsewhere */
        span l = line_of(p);
        if (!l.n) break;
        char *copy = own(l.n);
        size_t n = l.n, at = (size_t)(l.p - p->p);
        memcpy(copy, l.p, n);
        size_t kind = below(3);
        if (kind != 1) splice(p, at, n, NULL, 0);
        if (kind > 0) {
            span to = line_of(p);
            splice(p, (size_t)(to.p - p->p), 0, copy, n);
        }
        free(copy);
        break;
    }
    case 4: {           /* a line of another program */
        for (int i = 0; i < other->n_meta; i++)
            if (other->meta[i].key.n == 7 && !memcmp(other->meta[i].key.p, "program", 7)) {
                span from = line_of(&other->meta[i].value), to = line_of(p);
                splice(p, p->n ? (size_t)(to.p - p->p) : 0, one_in(2) ? to.n : 0, from.p, from.n);
            }
        break;
    }
    case 5: case 6: change_op(p); break;
    case 7: case 8: case 9: add_node(p); break;
    case 10: {          /* an attribute */
        span l = line_of(p);
        if (l.n < 6 || memcmp(l.p, "node ", 5)) break;
        size_t end = (size_t)(l.p - p->p) + l.n - (l.p[l.n - 1] == '\n'), at = end;
        while (at > 0 && !strchr(" ,", p->p[at - 1])) at--;
        splice_text(p, at, end - at, PICK(reals));
        break;
    }
    default:
        if (one_in(3)) damage(p);
        else if (p->n) {
            size_t at = below(p->n);
            splice_text(p, at, 0, PICK(strings));
        }
    }
}

static void exchange(void *a, void *b, size_t n) {
    char copy[sizeof(stored)];
    memcpy(copy, a, n);
    memcpy(a, b, n);
    memcpy(b, copy, n);
}

static void copy_text(text *to, const text *from) {
    text made = {0};
    add(&made, from->p, from->n);
    free(to->p);
    *to = made;
}

static void mutate_tensors(file *f) {
    if (!f->n_tensors) return;
    int i = (int)below((size_t)f->n_tensors), j = (int)below((size_t)f->n_tensors);
    stored *t = &f->tensor[i], *other = &f->tensor[j];
    switch (below(10)) {
    case 0:
        set(&t->dtype, (span){0});
        add_text(&t->dtype, PICK(dtypes));
        if (one_in(2)) fit_data(t);
        break;
    case 1: {
        span s = token(&t->shape, ",");
        splice_text(&t->shape, t->shape.n ? (size_t)(s.p - t->shape.p) : 0, s.n, PICK(numbers));
        if (one_in(2)) fit_data(t);
        break;
    }
    case 2:             /* of the same size */
        if (one_in(2)) splice_text(&t->shape, 0, 0, t->shape.n ? "1," : "1");
        else add_text(&t->shape, t->shape.n ? ",1" : "1");
        break;
    case 3: exchange(t, &f->tensor[--f->n_tensors], sizeof *t); break;
    case 4:
        if (f->n_tensors == MAX_FILE_TENSORS) break;
        copy_text(&f->tensor[f->n_tensors].name, &t->name);
        copy_text(&f->tensor[f->n_tensors].dtype, &t->dtype);
        copy_text(&f->tensor[f->n_tensors].shape, &t->shape);
        copy_text(&f->tensor[f->n_tensors].data, &t->data);
        t = &f->tensor[f->n_tensors++];
        if (one_in(2)) add_text(&t->name, PICK(strings));
        break;
    case 5:
        if (one_in(2)) {
            copy_text(&t->name, &other->name);
        } else if (t->name.n && t->name.p[0] != '\\') {   /* the same name, written with an escape */
            char made[8];
            snprintf(made, sizeof made, "\\u%04x", (unsigned)(unsigned char)t->name.p[0]);
            splice_text(&t->name, 0, 1, made);
        }
        break;
    case 6: splice_text(&t->name, below(t->name.n + 1), 0, PICK(strings)); break;
    case 7: exchange(t, other, sizeof *t); break;
    case 8: damage(&t->data); break;
    default:            /* values: special ones, everywhere */
        if (bytes_per(&t->dtype) == 4) {
            static const float special[] = {0, -1, 1e30f, 1e-40f, -0.0f, 3};
            float value = PICK(special);
            if (one_in(4)) value = __builtin_nanf("");
            if (one_in(4)) value = __builtin_inff();
            for (size_t k = 0; k + 4 <= t->data.n; k += 4) memcpy(t->data.p + k, &value, 4);
        } else {
            for (size_t k = 0; k < t->data.n; k++) t->data.p[k] = (char)draw();
        }
    }
}

static void mutate_meta(file *f, const file *other) {
    if (!f->n_meta) return;
    meta *m = &f->meta[below((size_t)f->n_meta)];
    switch (below(8)) {
    case 0: exchange(m, &f->meta[--f->n_meta], sizeof *m); break;
    case 1: set(&m->value, (span){0}); add_text(&m->value, PICK(strings)); break;
    case 2: splice_text(&m->value, below(m->value.n + 1), 0, PICK(strings)); break;
    case 3: damage(&m->value); break;
    case 4: set(&m->key, (span){0}); add_text(&m->key, PICK(strings)); break;
    case 5:
        if (f->n_meta == MAX_META || !other->n_meta) break;
        m = &f->meta[f->n_meta++];
        copy_text(&m->key, &other->meta[below((size_t)other->n_meta)].key);
        copy_text(&m->value, &other->meta[below((size_t)other->n_meta)].value);
        break;
    default: {          /* names of columns and classes, the learning rate */
        text *v = find_meta(f, one_in(2) ? "names" : "compile");
        if (!v || !v->n) break;
        span t = token(v, ",:{}[]");
        size_t at = (size_t)(t.p - v->p);
        if (one_in(2)) splice_text(v, at, t.n, PICK(numbers));
        else if (one_in(2)) splice_text(v, at, t.n, PICK(strings));
        else damage(v);
    }
    }
}

/* A token of the header's JSON. */
static void mutate_json(text *h) {
    static const char *const extra[] = {",", ":", "{", "}", "[", "]", "\"", " ", "\n", "\t", "\r", "null", "\xef\xbb\xbf", ",\"a\":1",
                                        "[[[[[[[[", "\"\":\"\"", "\\", "//", "\v", ",,", "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"};
    if (h->n <= sizeof file_prefix + 64) return;
    size_t from = one_in(4) ? 0 : sizeof file_prefix - 1 + 64;
    text rest = {0};
    add(&rest, h->p + from, h->n - from);
    span t = token(&rest, ",:{}[]");
    size_t at = from + (size_t)(t.p - rest.p);
    free(rest.p);
    switch (below(6)) {
    case 0: splice_text(h, at, t.n, PICK(numbers)); break;
    case 1: splice_text(h, at, t.n, PICK(extra)); break;
    case 2: case 3: splice_text(h, from + below(h->n - from), 0, PICK(extra)); break;
    case 4: splice(h, at, t.n + (at + t.n < h->n), NULL, 0); break;
    default: {
        text whole = {0};
        add(&whole, h->p + at, h->n - at < 60 ? h->n - at : 60);
        splice(h, at, 0, whole.p, whole.n);
        free(whole.p);
    }
    }
}

static void write_file(text *to, const file *f) {
    static text header;
    header.n = to->n = 0;
    add_text(&header, file_prefix);
    for (int i = 0; i < 64; i++) add(&header, "0", 1);
    add_text(&header, "\"");
    for (int i = 0; i < f->n_meta; i++) {
        add_text(&header, ",\"");
        add(&header, f->meta[i].key.p, f->meta[i].key.n);
        add_text(&header, "\":\"");
        add_escaped_lines(&header, &f->meta[i].value);
        add_text(&header, "\"");
    }
    add_text(&header, "}");
    size_t at = 0;
    int wrong = one_in(15) ? (int)below((size_t)f->n_tensors + 1) : -1;
    for (int i = 0; i < f->n_tensors; i++) {
        const stored *t = &f->tensor[i];
        add_text(&header, ",\"");
        add(&header, t->name.p, t->name.n);
        add_text(&header, "\":{\"dtype\":\"");
        add(&header, t->dtype.p, t->dtype.n);
        add_text(&header, "\",\"shape\":[");
        add(&header, t->shape.p, t->shape.n);
        size_t end = at + t->data.n;
        if (i != wrong) add_format(&header, "],\"data_offsets\":[%zu,%zu]}", at, end);
        else if (one_in(2)) add_format(&header, "],\"data_offsets\":[%s,%zu]}", PICK(numbers), end);
        else if (one_in(2)) add_format(&header, "],\"data_offsets\":[%zu,%s]}", at, PICK(numbers));
        else add_format(&header, "],\"data_offsets\":[%zu,%zu]}", at + 1 - 2 * below(2), end + 1 - 2 * below(2));
        at = end;
    }
    add_text(&header, "}");
    if (one_in(8)) mutate_json(&header);
    while (header.n % 8) add(&header, " ", 1);
    uint64_t length = header.n;
    if (one_in(60)) length += below(17) - 8;
    if (one_in(500)) length = draw() >> below(64);
    add(to, &length, 8);
    add(to, header.p, header.n);
    for (int i = 0; i < f->n_tensors; i++) add(to, f->tensor[i].data.p, f->tensor[i].data.n);
    if (one_in(60)) add(to, "0123456789", 1 + below(9));
}

static const seed *any_seed(void) {
    size_t at = below((size_t)n_seeds);
    for (int k = 0; k < 2 && !one_in(4); k++) {      /* they are in order of size: rather a small one */
        size_t other = below((size_t)n_seeds);
        if (other < at) at = other;
    }
    return &seeds[at];
}

static void make_case(text *to) {
    static file f, other;
    const seed *s = any_seed();
    if (one_in(12)) {
        to->n = 0;
        add(to, s->bytes, s->size);
        damage(to);
        if (one_in(2)) seal((unsigned char *)to->p, to->n);
        return;
    }
    take_apart(s, &f);
    clear(&other);
    if (one_in(3)) take_apart(any_seed(), &other);
    for (size_t k = one_in(2) ? 1 : 1 + below(6); k > 0; k--) {
        text *program = find_meta(&f, "program");
        size_t kind = below(16);
        if (kind < 8 && program) mutate_program(program, &other);
        else if (kind < 11) change_size(&f);
        else if (kind < 14) mutate_tensors(&f);
        else mutate_meta(&f, &other);
    }
    write_file(to, &f);
    if (!one_in(100)) seal((unsigned char *)to->p, to->n);
    if (one_in(200)) damage(to);
}

/* ---- what is done with a file ---- */

static size_t opened, trained, run_sessions, most_memory, saved_again;
static double longest_open, longest;
static size_t statuses[FNN_ERR_FORMAT + 1];

/* A status within the table, and a text where it is none of FNN_OK. */
static int checked(const char *what, int status, const fnn_error *err) {
    CHECK(status >= FNN_OK && status <= FNN_ERR_FORMAT, "%s: status %d", what, status);
    if (status == FNN_OK) return status;
    CHECK(err->status == status, "%s: status %d, in the error %d", what, status, err->status);
    CHECK(memchr(err->text, 0, sizeof err->text) && err->text[0], "%s: status %d has no text", what, status);
    return status;
}

static size_t element(int dtype) {
    switch (dtype) {
    case FNN_F64: case FNN_I64: case FNN_U64: return 8;
    case FNN_F32: case FNN_I32: case FNN_U32: return 4;
    case FNN_F16: case FNN_I16: case FNN_U16: return 2;
    default: return 1;
    }
}

enum { MOST = 40, ROWS = 7 };
#define MOST_BYTES ((size_t)8 << 20)
typedef struct { void *p; size_t bytes; fnn_tensor_info info; } array;
typedef struct { array in[MOST], out[MOST]; int n_in, n_targets, n_weights, n_out; bool usable; } arrays;

static void fill(array *a) {
    int range = one_in(8) ? 100 : 3;
    for (size_t i = 0; i < a->bytes / element(a->info.dtype); i++)
        switch (a->info.dtype) {
        case FNN_F32: ((float *)a->p)[i] = (float)below(64) / 16 - 1; break;
        case FNN_F64: ((double *)a->p)[i] = (double)below(64) / 16 - 1; break;
        case FNN_I32: ((int32_t *)a->p)[i] = (int32_t)below((size_t)range) - (range > 3); break;
        default: ((char *)a->p)[i % a->bytes] = (char)draw();
        }
    if (a->bytes && one_in(10))
        for (int k = 0; k < 4; k++) ((char *)a->p)[below(a->bytes)] = (char)draw();
}

static int take_arrays(fnn_model *m, int kind, array *to, int room, bool *usable) {
    fnn_error err = {0};
    int n = fnn_model_count(m, kind);
    for (int i = 0; i < n; i++) {
        if (i == room) { *usable = false; return i; }
        array *a = &to[i];
        if (checked("fnn_model_tensor", fnn_model_tensor(m, kind, i, &a->info, &err), &err)) fault("tensor %d of kind %d is not told", i, kind);
        int64_t bytes;
        if (!fnn_mul(a->info.count, (int64_t)element(a->info.dtype) * ROWS, &bytes) || (size_t)bytes > MOST_BYTES) { *usable = false; return i; }
        a->bytes = (size_t)bytes;
        a->p = own(a->bytes);
        fill(a);
    }
    return n < 0 ? 0 : n;
}

static arrays arrays_for(fnn_model *m) {
    arrays a = {.usable = true};
    a.n_in = take_arrays(m, FNN_INPUTS, a.in, MOST, &a.usable);
    if (a.usable) a.n_targets = take_arrays(m, FNN_TARGETS, a.in + a.n_in, MOST - a.n_in, &a.usable);
    int n = a.n_in + a.n_targets;
    if (a.usable) a.n_weights = take_arrays(m, FNN_SAMPLE_WEIGHTS, a.in + n, MOST - n, &a.usable);
    if (a.usable) a.n_out = take_arrays(m, FNN_OUTPUTS, a.out, MOST, &a.usable);
    return a;
}

static void free_arrays(arrays *a) {
    for (int i = 0; i < MOST; i++) free(a->in[i].p);
    for (int i = 0; i < MOST; i++) free(a->out[i].p);
}

static fnn_session *session(fnn_model *m, int mode, int64_t rows, int flags) {
    fnn_error err = {0};
    fnn_session *s = NULL;
    size_t bytes = 0, before = live_bytes;
    int sized = checked("fnn_session_size", fnn_session_size(m, mode, rows, flags, &bytes, &err), &err);
    CHECK(live_bytes == before, "fnn_session_size keeps memory");
    int status = checked("fnn_session_create", fnn_session_create(m, mode, rows, flags, &s, &err), &err);
    CHECK((s != NULL) == (status == FNN_OK), "a session and status %d", status);
    CHECK(s || live_bytes == before, "a session that was not made keeps memory");
    if (s) {
        CHECK(sized == FNN_OK && bytes == fnn_session_bytes(s), "a session of %zu bytes, foreseen %zu (status %d)", fnn_session_bytes(s), bytes, sized);
    }
    /* What takes longer than that is no fault: such is the program. */
    if (s && fnn_session_ns(s, rows) > 1e7) {
        fnn_session_free(s);
        return NULL;
    }
    run_sessions += s != NULL;
    return s;
}

static void predict(fnn_model *m, arrays *a) {
    fnn_error err = {0};
    const void *in[MOST];
    void *out[MOST];
    for (int i = 0; i < a->n_in; i++) in[i] = a->in[i].p;
    for (int i = 0; i < a->n_out; i++) out[i] = a->out[i].p;
    int64_t rows = 1 + (int64_t)below(3);
    fnn_session *s = session(m, FNN_PREDICT, rows, FNN_ONE_THREAD | FNN_GUARD);
    if (!s) return;
    int64_t n = 1 + (int64_t)below(ROWS);
    int status = checked("fnn_predict_many", fnn_predict_many(s, in, out, n, &err), &err);
    if (status == FNN_OK && a->n_in == 1 && a->n_out == 1) {
        array *y = &a->out[0];
        char *copy = own(y->bytes);
        memset(copy, 0x5a, y->bytes);
        int again = fnn_predict(s, in[0], copy, n);
        if (again == FNN_OK)
            CHECK(!memcmp(copy, y->p, (size_t)n * (size_t)y->info.count * element(y->info.dtype)), "fnn_predict gives other bits than fnn_predict_many");
        else checked("fnn_predict", again, fnn_session_error(s));
        free(copy);
    }
    CHECK(fnn_session_check(s, NULL) == FNN_OK, "predicting wrote beyond a buffer");
    fnn_session_free(s);
}

static void train(fnn_model *m, arrays *a) {
    fnn_error err = {0};
    const void *in[MOST];
    double loss = 0;
    for (int i = 0; i < a->n_in + a->n_targets; i++) in[i] = a->in[i].p;
    int64_t rows = 1 + (int64_t)below(3);
    fnn_session *s = session(m, FNN_TRAIN, rows, FNN_ONE_THREAD | FNN_GUARD);
    if (!s) return;
    if (checked("fnn_train_batch", fnn_train_batch(s, in, rows, 0.01, &loss, &err), &err) == FNN_OK) trained++;
    checked("fnn_train_epoch", fnn_train_epoch(s, in, ROWS, draw(), below(3), 0.01, &loss, &err), &err);
    CHECK(fnn_session_check(s, NULL) == FNN_OK, "training wrote beyond a buffer");
    fnn_session_free(s);
}

/* By the functions in detail. */
static void walk(fnn_model *m, arrays *a, int mode) {
    fnn_error err = {0};
    int64_t rows = 1 + (int64_t)below(3);
    fnn_session *s = session(m, mode, rows, (one_in(2) ? FNN_TRAINING : 0) | FNN_ONE_THREAD | FNN_GUARD);
    if (!s) return;
    for (int i = 0; i < a->n_in + a->n_targets + a->n_weights + a->n_out; i++) {
        array *b = i < a->n_in + a->n_targets + a->n_weights ? &a->in[i] : &a->out[i - a->n_in - a->n_targets - a->n_weights];
        if (b->info.sparse) continue;
        fnn_array bound = {b->p, b->info.dtype, 0, b->info.ndim, {0}, {0}};
        int64_t stride = (int64_t)element(b->info.dtype);
        for (int d = b->info.ndim - 1; d >= 0; d--) {
            bound.shape[d] = d == 0 ? ROWS : b->info.shape[d];
            bound.strides[d] = stride;
            stride *= bound.shape[d];
        }
        checked("fnn_bind", fnn_bind(s, b->info.id, &bound, &err), &err);
    }
    fnn_pass pass = {.n = ROWS, .batch_size = rows, .shuffle = (int64_t)below(4), .check_finite = one_in(2), .seed = draw()};
    if (checked("fnn_begin", fnn_begin(s, &pass, &err), &err) == FNN_OK) {
        double lr = 0.01, results[64];
        int64_t done = 0;
        int finished = 0;
        checked("fnn_run", fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err), &err);
        int n = fnn_results(s, results, 64);
        CHECK(n >= 0, "%d results", n);
    }
    CHECK(fnn_session_check(s, NULL) == FNN_OK, "mode %d wrote beyond a buffer", mode);
    fnn_session_free(s);
}

static void ask(fnn_model *m) {
    fnn_error err = {0};
    fnn_tensor_info info;
    for (int kind = -1; kind <= FNN_RESULT_NAMES + 1; kind++) {
        int n = fnn_model_count(m, kind);
        CHECK((n >= 0) == (kind >= 0 && kind <= FNN_RESULT_NAMES), "kind %d: count %d", kind, n);
        for (int i = -1; i <= n; i++) {
            const bool tensors = kind >= 0 && kind <= FNN_PARAMETERS, there = i >= 0 && i < n;
            int status = checked("fnn_model_tensor", fnn_model_tensor(m, kind, i, &info, &err), &err);
            CHECK((status == FNN_OK) == (tensors && there), "kind %d, tensor %d of %d: status %d", kind, i, n, status);
            const char *name = fnn_model_name(m, kind, i);
            CHECK(!name || there, "kind %d: name %d of %d", kind, i, n);
            CHECK(name || !there || tensors, "kind %d: no name %d of %d", kind, i, n);
            if (name) (void)strlen(name);
            if (status != FNN_OK || kind != FNN_PARAMETERS) continue;
            (void)strlen(info.name);
            size_t bytes = (size_t)info.count * element(info.dtype);
            void *values = own(bytes);
            CHECK(checked("fnn_get_parameter", fnn_get_parameter(m, info.id, values, info.count, &err), &err) == FNN_OK, "parameter %d is not told", info.id);
            CHECK(checked("fnn_set_parameter", fnn_set_parameter(m, info.id, values, info.count, &err), &err) == FNN_OK, "parameter %d is not taken", info.id);
            CHECK(checked("fnn_get_parameter", fnn_get_parameter(m, info.id, values, info.count + 1, &err), &err) != FNN_OK, "too many values");
            free(values);
        }
    }
    CHECK(fnn_model_iterations(m) >= 0, "%lld updates", (long long)fnn_model_iterations(m));
    (void)fnn_model_learning_rate(m);
}

/* The file of a model; NULL where that cannot be had. */
static unsigned char *saved(fnn_model *m, size_t *size) {
    fnn_error err = {0};
    *size = 0;
    int status = checked("fnn_save_memory", fnn_save_memory(m, NULL, 0, size, &err), &err);
    CHECK(status == FNN_ERR_ARGUMENT || status == FNN_ERR_MEMORY, "saving into nothing: status %d", status);
    if (status != FNN_ERR_ARGUMENT) return NULL;
    unsigned char *bytes = own(*size);
    size_t again = 0;
    status = checked("fnn_save_memory", fnn_save_memory(m, bytes, *size, &again, &err), &err);
    if (status != FNN_OK) {
        CHECK(status == FNN_ERR_MEMORY, "saving: status %d, %s", status, err.text);
        free(bytes);
        return NULL;
    }
    CHECK(again == *size, "saved %zu bytes, foreseen %zu", again, *size);
    return bytes;
}

static void one_file(const unsigned char *given, size_t size) {
    fnn_error err = {0};
    fnn_model *m = NULL;
    unsigned char *bytes = own(size);      /* of its own, so that every byte beyond is seen */
    memcpy(bytes, given, size);
    now_bytes = given;
    now_size = size;
    peak_bytes = live_bytes = 0;
    double begun = seconds();
    int status = checked("fnn_open_memory", fnn_open_memory(bytes, size, &m, &err), &err);
    double took = seconds() - begun;
    free(bytes);
    statuses[status]++;
    if (show) {
        const uint32_t head[2] = {(uint32_t)status, (uint32_t)size};
        fwrite(head, sizeof head, 1, stdout);
        fwrite(given, size, 1, stdout);
        fnn_model_free(m);
        return;
    }
    CHECK((m != NULL) == (status == FNN_OK), "a model and status %d", status);
    size_t beyond = peak_bytes > size ? peak_bytes - size : 0;
    if (beyond > most_memory) most_memory = beyond;
    if (took > longest_open) longest_open = took;
    CHECK(beyond <= MEMORY, "takes %zu bytes beyond the file's %zu to open", beyond, size);
    CHECK(took <= SECONDS, "takes %.2f s to open", took);
    if (m) {
        opened++;
        arrays a = arrays_for(m);
        ask(m);
        if (a.usable) {
            predict(m, &a);
            if (one_in(4)) walk(m, &a, FNN_EVALUATE);
            if (a.n_targets && one_in(4)) walk(m, &a, FNN_GRADIENTS);
            train(m, &a);
        }
        if (one_in(50)) {
            fnn_session *s = session(m, (int)below(6) - 1, (int64_t)(draw() >> below(64)), (int)below(16));
            fnn_session_free(s);
        }
        if (one_in(3)) {
            size_t n, again;
            unsigned char *content = saved(m, &n);
            fnn_model *reopened = NULL;
            if (content) {
                saved_again++;
                status = checked("fnn_open_memory", fnn_open_memory(content, n, &reopened, &err), &err);
                CHECK(status == FNN_OK || status == FNN_ERR_MEMORY, "what was saved does not open: %s", err.text);
            }
            if (reopened) {
                unsigned char *twice = saved(reopened, &again);
                CHECK(!twice || (again == n && !memcmp(content, twice, n)), "saved once more, the file is another");
                free(twice);
            }
            fnn_model_free(reopened);
            free(content);
        }
        free_arrays(&a);
    }
    fnn_model_free(m);
    CHECK(live_blocks == 0, "%ld blocks of memory are not given back", live_blocks);
    live_blocks = 0;
    took = seconds() - begun;
    if (took > longest) longest = took;
    CHECK(took <= SECONDS, "takes %.2f s", took);
    now_bytes = NULL;
}

static void prepare(void) {
    if (fnn_set_allocator(take_block, give_block_back, NULL) != FNN_OK) {
        printf("fuzz_file: the allocator is refused\n");
        exit(2);
    }
    fnn_set_threads(1);
}

#ifdef FNN_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int number);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) prepare();
    ready = true;
    state = size;
    one_file(data, size);
    return 0;
}

/* libFuzzer's own mutations, with the checksum made right again. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int number) {
    size = LLVMFuzzerMutate(data, size, max_size);
    if (number % 16) {
        if (size > DIGITS_AT) memcpy(data + 8, file_prefix, sizeof file_prefix - 1);
        seal(data, size);
    }
    return size;
}

#else

static int by_size(const void *a, const void *b) {
    size_t x = ((const seed *)a)->size, y = ((const seed *)b)->size;
    return (x > y) - (x < y);
}

static void read_seed(const char *path) {
    FILE *f = fopen(path, "rb");
    text t = {0};
    char part[4096];
    size_t n;
    if (!f) {
        printf("fuzz_file: cannot read '%s'\n", path);
        exit(2);
    }
    while ((n = fread(part, 1, sizeof part, f)) > 0) add(&t, part, n);
    fclose(f);
    if (t.n < DIGITS_AT + 64 || memcmp(t.p + 8, file_prefix, sizeof file_prefix - 1)) return;
    seeds = realloc(seeds, (size_t)(n_seeds + 1) * sizeof *seeds);
    if (!seeds) exit(2);
    seed *s = &seeds[n_seeds++];
    *s = (seed){(unsigned char *)t.p, t.n, calloc(1, sizeof(file))};
    if (!s->parts) exit(2);
    read_parts(s, s->parts);
}

#if !defined(_WIN32)
static void died(int signal_number) {
    printf("case %lld: %s\n", now_case, signal_number == SIGPROF ? "takes too long" : "crashes");
    fflush(stdout);
    keep_case();
    _exit(1);
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }
#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
static void reported(void) { died(SIGABRT); }
#endif
#endif

int main(int argc, char **argv) {
    long long files = 20000, first = 0, number = 0;
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && !strcmp(argv[i], "--files")) files = strtoll(argv[++i], NULL, 10);
        else if (i + 1 < argc && !strcmp(argv[i], "--seed")) number = strtoll(argv[++i], NULL, 10);
        else if (i + 1 < argc && !strcmp(argv[i], "--first")) first = strtoll(argv[++i], NULL, 10);
        else if (i + 1 < argc && !strcmp(argv[i], "--keep")) keep = argv[++i];
        else if (!strcmp(argv[i], "--show")) show = true;
        else read_seed(argv[i]);
    }
    if (!n_seeds) {
        printf("fuzz_file: no files to start from\n");
        return 2;
    }
    qsort(seeds, (size_t)n_seeds, sizeof *seeds, by_size);
    prepare();
#if !defined(_WIN32)
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(reported);
#else
    signal(SIGSEGV, died);
    signal(SIGBUS, died);
    signal(SIGFPE, died);
#endif
    signal(SIGABRT, died);
    signal(SIGPROF, died);
#endif
    static text made;
    double begun = seconds();
    for (now_case = first; now_case < first + files && failed < 20; now_case++) {
#if !defined(_WIN32)
        if (now_case % 256 == 0) setitimer(ITIMER_PROF, &(struct itimerval){{0, 0}, {HANG, 0}}, NULL);
#endif
        state = (uint64_t)number * 0xD1342543DE82EF95 + (uint64_t)now_case * 0x2545F4914F6CDD1D;
        if (now_case < n_seeds) {
            made.n = 0;
            add(&made, seeds[now_case].bytes, seeds[now_case].size);
        } else {
            make_case(&made);
        }
        one_file((unsigned char *)made.p, made.n);
        if (files >= 1000000 && (now_case - first + 1) % (files / 20) == 0) {
            printf("%lld files, %zu open, %zu train, %.0f s\n", now_case - first + 1, opened, trained, seconds() - begun);
            fflush(stdout);
        }
    }
    if (show) return failed != 0;
    printf("fuzz_file, seed %lld: %lld files:", number, now_case - first);
    static const char *const names[] = {"open", "argument", "program", "limit", "memory", "data", "nonfinite", "state", "file", "format"};
    for (int i = 0; i <= FNN_ERR_FORMAT; i++)
        if (statuses[i]) printf(" %zu %s,", statuses[i], names[i]);
    printf(" %zu sessions, %zu trained, %zu saved; at most %.3f s to open, %.3f s in all, %.1f MiB beyond the size; %.0f s; %d failures\n",
           run_sessions, trained, saved_again, longest_open, longest, (double)most_memory / (1 << 20), seconds() - begun, failed);
    return failed != 0;
}

#endif
