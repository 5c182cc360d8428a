/* Errors, checked sizes and memory. */
#include "internal.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

/* Cuts off a UTF-8 sequence that the end of the buffer has split. */
static void trim_utf8(char *text) {
    size_t n = strlen(text), start = n;
    while (start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    unsigned char first = (unsigned char)text[start - 1];
    size_t need = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    if (n - (start - 1) < need) text[start - 1] = 0;
}

static int fail(fnn_error *err, int status, int tensor, int64_t row, double value, const char *format,
                va_list args) {
    if (err) {
        err->status = status;
        err->tensor = tensor;
        err->row = row;
        err->value = value;
        int n = vsnprintf(err->text, sizeof err->text, format, args);
        if (n < 0) err->text[0] = 0;
        else if ((size_t)n >= sizeof err->text) trim_utf8(err->text);
    }
    return status;
}

int fnn_fail(fnn_error *err, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail(err, status, -1, -1, 0, format, args);
    va_end(args);
    return status;
}

int fnn_fail_at(fnn_error *err, int status, int tensor, int64_t row, double value, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail(err, status, tensor, row, value, format, args);
    va_end(args);
    return status;
}

bool fnn_mul(int64_t a, int64_t b, int64_t *out) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out);
}

bool fnn_add(int64_t a, int64_t b, int64_t *out) {
    return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, out);
}

/* ---- memory ---- */

static void *(*hook_take)(size_t bytes, size_t alignment, void *context);
static void (*hook_give_back)(void *p, void *context);
static void *hook_context;
static int64_t held;                 /* blocks not yet given back */

int fnn_set_allocator(void *(*take)(size_t bytes, size_t alignment, void *context),
                      void (*give_back)(void *p, void *context), void *context) {
    if (!take != !give_back) return FNN_ERR_ARGUMENT;
    if (__atomic_load_n(&held, __ATOMIC_ACQUIRE) != 0) return FNN_ERR_STATE;
    hook_take = take;
    hook_give_back = give_back;
    hook_context = context;
    return FNN_OK;
}

static void *counted(void *p) {
    if (p) __atomic_add_fetch(&held, 1, __ATOMIC_RELAXED);
    return p;
}

static void *hooked(size_t bytes, size_t alignment) {
    void *p = hook_take(bytes, alignment, hook_context);
    return p ? memset(p, 0, bytes) : NULL;
}

void *fnn_new(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX) return NULL;
    if (bytes == 0) bytes = 1;
    if (hook_take) return counted(hooked(bytes, 16));
#if defined(_WIN32)
    void *p = _aligned_malloc(bytes, 16);
    return counted(p ? memset(p, 0, bytes) : NULL);
#else
    return counted(calloc(bytes, 1));
#endif
}

/* Zeroed by hand rather than by calloc: the pages are then in place before the first step runs. */
void *fnn_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX) return NULL;
    if (bytes == 0) bytes = 1;
    if (hook_take) return counted(hooked(bytes, FNN_ALIGN));
    void *p;
#if defined(_WIN32)
    p = _aligned_malloc(bytes, FNN_ALIGN);
    if (!p) return NULL;
#else
    const bool huge = bytes >= 2 * HUGE_PAGE;
    if (posix_memalign(&p, huge ? HUGE_PAGE : FNN_ALIGN, bytes)) return NULL;
#if defined(MADV_HUGEPAGE)
    if (huge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
#endif
    return counted(memset(p, 0, bytes));
}

void fnn_free(void *p) {
    if (!p) return;
    __atomic_sub_fetch(&held, 1, __ATOMIC_RELEASE);
    if (hook_take) {
        hook_give_back(p, hook_context);
        return;
    }
#if defined(_WIN32)
    _aligned_free(p);
#else
    free(p);
#endif
}
