/* Arrays mapped from files: the system is told what will be read soon, and fetches it from the disk while the
 * steps before it run. */
#if !defined(_WIN32)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#include <unistd.h>
#endif
#include "internal.h"

#define SMALL ((int64_t)32 << 20)    /* bytes of arrays that are left alone, since they are read in no time */
#define PIECE ((int64_t)4 << 20)     /* bytes asked for at a time by a pass in order */
enum { PIECES = 8 };                 /* such pieces that are read ahead */

#if defined(MADV_WILLNEED)
static void ask(const char *lowest, int64_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)lowest & ~(page - 1);
    madvise((void *)from, (size_t)((uintptr_t)lowest - from) + (size_t)bytes, MADV_WILLNEED);
}
#else
static void ask(const char *lowest, int64_t bytes) { (void)lowest; (void)bytes; }
#endif

/* 0 where nothing is bound, or a sparse matrix. */
static int64_t stride_of(const fnn_port *port) {
    int64_t stride = port->bound ? port->array.strides[0] : 0;
    return stride < 0 ? -stride : stride;
}

/* Samples [lo, hi) of the pass, as far as they are rows that follow each other. */
static void ask_samples(const fnn_session *s, int64_t lo, int64_t hi) {
    if (lo >= hi) return;
    int64_t first = s->selected ? s->selected[lo] : lo, last = s->selected ? s->selected[hi - 1] : hi - 1;
    if (last < first || last - first > 4 * (hi - lo)) return;
    for (int k = 0; k < s->n_in_ports; k++) {
        const fnn_port *port = &s->ports[k];
        const int64_t stride = stride_of(port);
        if (stride * s->pass.n < SMALL) continue;
        const char *data = port->array.data;
        ask(data + (port->array.strides[0] > 0 ? first : last) * port->array.strides[0], (last - first + 1) * stride);
    }
}

void fnn_read_ahead(fnn_session *s) {
    int64_t largest = 0, n = s->pass.n, at = s->steps_done * s->pass.batch_size;
    for (int k = 0; k < s->n_in_ports; k++)
        if (stride_of(&s->ports[k]) > largest) largest = stride_of(&s->ports[k]);
    if (s->pass.shuffle == 1 || largest * n < SMALL) return;
    fnn_piece piece = {0, PIECE / largest + 1, PIECES};
    bool mixed = fnn_piece_of(&s->pass, 0, &piece);
    if (s->pass.shuffle && !mixed) return;
    const int64_t size = piece.size, now = at / size;
    /* Of windows all of this one, and a little more of the next one than was used of this one. */
    const int64_t first = mixed ? now - now % piece.count : now;
    const int64_t until = now + piece.count + (mixed ? piece.count / 4 + 1 : 0);
    for (s->asked = s->asked < first ? first : s->asked; s->asked < until && s->asked * size < n; s->asked++) {
        int64_t lo = s->asked * size, hi = n - lo < size ? n : lo + size;
        if (mixed) {
            fnn_piece_of(&s->pass, s->asked, &piece);
            lo = piece.start;
            hi = lo + piece.size;
        }
        ask_samples(s, lo, hi < n ? hi : n);
        if (hi > n) ask_samples(s, 0, hi - n);
    }
}
