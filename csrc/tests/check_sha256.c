/* SHA-256 against the examples of FIPS 180-4 and NIST's "SHA256 short and long messages"; the CPU's instructions against
 * plain C; pieces against the whole. */
#include "../internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;
static void check(const char *what, bool good) {
    if (good) passed++;
    else { failed++; printf("check_sha256: %s\n", what); }
}

static void digest(const void *bytes, size_t n, size_t piece, char digits[64]) {
    fnn_sha256 s;
    fnn_sha256_begin(&s);
    for (size_t at = 0; at < n; at += piece) fnn_sha256_add(&s, (const char *)bytes + at, n - at < piece ? n - at : piece);
    fnn_sha256_end(&s, digits);
}

int main(void) {
    static const struct { const char *text, *digits; } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"}};
    char digits[64], pieces[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        digest(known[i].text, strlen(known[i].text), 1 << 20, digits);
        check(known[i].text, !memcmp(digits, known[i].digits, 64));
    }
    static char a[1000000];
    memset(a, 'a', sizeof a);
    digest(a, sizeof a, 1 << 20, digits);
    check("a million 'a'", !memcmp(digits, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", 64));
    for (size_t piece = 1; piece < 200; piece++) {
        digest(a, 1000, 1000, digits);
        digest(a, 1000, piece, pieces);
        check("pieces", !memcmp(digits, pieces, 64));
    }
    for (int i = 0; i < 6400; i++) a[i] = (char)(i * 2654435761u >> 13);
    for (size_t n = 1; n <= 100; n++) {
        uint32_t one[8] = {1, 2, 3, 4, 5, 6, 7, 8}, two[8];
        memcpy(two, one, sizeof one);
        fnn_sha256_mix(one, (const unsigned char *)a, n, false);
        fnn_sha256_mix(two, (const unsigned char *)a, n, true);
        check("the CPU's instructions", !memcmp(one, two, sizeof one));
    }
    printf("check_sha256: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
