/* Model files of the system: opened, and replaced so that the old one stays whole until the new one is. */
#if !defined(_WIN32)
#define _DEFAULT_SOURCE
#define _FILE_OFFSET_BITS 64
#endif
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#if defined(_WIN32)
#include <io.h>
#include <windows.h>
#else
#include <stdlib.h>
#include <unistd.h>
#endif

/* ---- the system's calls, in UTF-8 and 64 bits ---- */

enum { MAX_PATH_UNITS = 4096 };      /* of a path, its end included */

#if defined(_WIN32)

typedef struct _stat64 file_state;
static bool widen(const char *path, wchar_t *wide) {
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, MAX_PATH_UNITS) > 0;
}
static int open_to_read(const char *path) {
    wchar_t wide[MAX_PATH_UNITS];
    return widen(path, wide) ? _wopen(wide, _O_RDONLY | _O_BINARY) : -1;
}
static int open_new(const char *path, int mode) {
    wchar_t wide[MAX_PATH_UNITS];
    (void)mode;
    return widen(path, wide) ? _wopen(wide, _O_RDWR | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE) : -1;
}
static bool state_of(int file, file_state *state) { return _fstat64(file, state) == 0; }
static bool is_regular(const file_state *state) { return (state->st_mode & _S_IFMT) == _S_IFREG; }
static int64_t read_at(int file, uint64_t at, void *to, size_t n) {
    if (_lseeki64(file, (int64_t)at, SEEK_SET) < 0) return -1;
    return _read(file, to, n < 1 << 30 ? (unsigned)n : 1u << 30);
}
static int64_t write_some(int file, const void *from, size_t n) { return _write(file, from, n < 1 << 30 ? (unsigned)n : 1u << 30); }
static bool go_to(int file, int64_t at) { return _lseeki64(file, at, SEEK_SET) == at; }
static bool sync_file(int file) { return _commit(file) == 0; }
static void close_file(int file) { _close(file); }
static void remove_file(const char *path) {
    wchar_t wide[MAX_PATH_UNITS];
    if (widen(path, wide)) _wremove(wide);
}
static bool replace(const char *from, const char *to) {
    wchar_t wide_from[MAX_PATH_UNITS], wide_to[MAX_PATH_UNITS];
    return widen(from, wide_from) && widen(to, wide_to) &&
           MoveFileExW(wide_from, wide_to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH);
}
static void sync_folder(const char *path) { (void)path; }
static unsigned long process(void) { return GetCurrentProcessId(); }

#else

typedef struct stat file_state;
/* A pipe would hold it up until somebody writes. */
static int open_to_read(const char *path) { return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); }
static int open_new(const char *path, int mode) { return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode); }
static bool state_of(int file, file_state *state) { return fstat(file, state) == 0; }
static bool is_regular(const file_state *state) { return S_ISREG(state->st_mode); }
static int64_t read_at(int file, uint64_t at, void *to, size_t n) { return pread(file, to, n, (off_t)at); }
static int64_t write_some(int file, const void *from, size_t n) { return write(file, from, n); }
static bool go_to(int file, int64_t at) { return lseek(file, (off_t)at, SEEK_SET) == (off_t)at; }
static bool sync_file(int file) { return fsync(file) == 0; }
static void close_file(int file) { close(file); }
static void remove_file(const char *path) { unlink(path); }
static bool replace(const char *from, const char *to) { return rename(from, to) == 0; }
/* So that the new name is on the disk too; some systems cannot, which is no harm. */
static void sync_folder(const char *path) {
    char folder[MAX_PATH_UNITS];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof folder) return;
    memcpy(folder, path, n);
    strcpy(folder + n, slash ? "/" : ".");
    int file = open(folder, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    fsync(file);
    close(file);
}
static unsigned long process(void) { return (unsigned long)getpid(); }

#endif

static int refused(fnn_error *err, const char *what, const char *path) {
    return fnn_fail(err, FNN_ERR_FILE, "cannot %s '%.120s': %s", what, path, strerror(errno));
}

/* ---- reading ---- */

static bool read_file(void *context, uint64_t at, void *to, size_t n) {
    const int file = *(const int *)context;
    for (char *next = to; n > 0;) {
        const int64_t got = read_at(file, at, next, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        next += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

int fnn_open(const char *path, fnn_model **model, fnn_error *err) {
    if (model) *model = NULL;
    if (!path || !model) return fnn_fail(err, FNN_ERR_ARGUMENT, "no path, or no place for a model");
    int file = open_to_read(path);
    if (file < 0) return refused(err, "read", path);
    file_state state;
    char label[104];
    snprintf(label, sizeof label, "'%.100s'", path);
    int status;
    if (!state_of(file, &state)) status = refused(err, "read", path);
    else if (!is_regular(&state)) status = fnn_fail(err, FNN_ERR_FILE, "cannot read '%.120s': it is no file", path);
    else {
        const fnn_source source = {read_file, &file, (uint64_t)state.st_size, label};
        status = fnn_file_read(&source, model, err);
    }
    close_file(file);
    return status;
}

/* ---- writing ---- */

static bool write_file(void *context, const void *bytes, size_t n) {
    const int file = *(const int *)context;
    for (const char *next = bytes; n > 0;) {
        const int64_t put = write_some(file, next, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        next += put;
        n -= (size_t)put;
    }
    return true;
}

/* Where a link leads to: that file is replaced, the link stays. */
static bool follow(const char *path, char *target) {
#if !defined(_WIN32)
    char *found = realpath(path, NULL);
    if (found) {
        const bool fits = strlen(found) < MAX_PATH_UNITS;
        if (fits) strcpy(target, found);
        free(found);
        return fits;
    }
#endif
    if (strlen(path) >= MAX_PATH_UNITS) return false;
    strcpy(target, path);
    return true;
}

static int save(fnn_model *m, const char *path, fnn_error *err) {
    static int saved;
    char target[MAX_PATH_UNITS], temporary[MAX_PATH_UNITS + 64], checksum[64];
    if (!follow(path, target)) return fnn_fail(err, FNN_ERR_FILE, "the path '%.100s' is too long", path);
    int mode = 0666, old = open_to_read(target);
    file_state state;
    if (old >= 0) {
        const bool replaceable = state_of(old, &state) && is_regular(&state);
        close_file(old);
        if (!replaceable) return fnn_fail(err, FNN_ERR_FILE, "cannot write '%.120s': a folder or device is there", path);
        mode = (int)(state.st_mode & 0777);
    }
    snprintf(temporary, sizeof temporary, "%s.%lx.%x.tmp", target, process(),
             (unsigned)__atomic_add_fetch(&saved, 1, __ATOMIC_RELAXED));
    int file = open_new(temporary, mode);
    if (file < 0) return refused(err, "write", path);
    errno = 0;
    int status = fnn_file_write(m, write_file, &file, checksum, err);
    if (status == FNN_OK &&
        !(go_to(file, FNN_CHECKSUM_AT) && write_file(&file, checksum, sizeof checksum) && sync_file(file)))
        status = FNN_ERR_FILE;
    if (status == FNN_ERR_FILE) refused(err, "write", path);
    close_file(file);
    if (status == FNN_OK && !replace(temporary, target)) status = refused(err, "write", path);
    if (status == FNN_OK) sync_folder(target);
    else remove_file(temporary);
    return status;
}

int fnn_save(fnn_model *m, const char *path, fnn_error *err) {
    if (!m || !path) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model, or no path");
    fnn_error own;
    return fnn_model_told(m, save(m, path, &own), &own, err);
}
