/* SPDX-License-Identifier: MIT */
/*
 * usage: replay SEED...
 * Runs a fuzz target on each seed as it is, cut short at every length, and with bytes changed at random (seeded).
 * An input that the target cannot bear ends the program, so reaching the last line is the result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz_target.h"

enum { MAX_SEED_NBYTES = 1 << 20, MAX_CUTS = 2048, N_DAMAGED = 3000, MAX_CHANGES = 4 };

static uint64_t next_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The input lies at the very end of an allocation, where a sanitizer sees a read past it. */
static void run(const uint8_t *data, size_t nbytes)
{
    uint8_t *exact = malloc(nbytes ? nbytes : 1);
    if (!exact)
        exit(3);
    memcpy(exact, data, nbytes);
    (void)LLVMFuzzerTestOneInput(exact, nbytes);
    free(exact);
}

static void damage(uint8_t *data, size_t nbytes, uint64_t *state)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x7F, 0x80, 0xFF, '"', '{', '['};
    const size_t changes = 1 + next_random(state) % MAX_CHANGES;
    for (size_t i = 0; i < changes; i++) {
        const uint64_t r = next_random(state);
        uint8_t *at = &data[(r >> 16) % nbytes];
        *at = (uint8_t)(r & 1 ? telling[(r >> 8) % sizeof telling] : *at ^ 1u << (r >> 8 & 7));
    }
}

static size_t replay(const char *path)
{
    static uint8_t seed[MAX_SEED_NBYTES], work[MAX_SEED_NBYTES];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(3);
    }
    const size_t nbytes = fread(seed, 1, sizeof seed, f);
    (void)fclose(f);
    size_t n = 1;
    run(seed, nbytes);
    for (size_t cut = 0; cut < nbytes && cut < MAX_CUTS; cut++, n++)
        run(seed, cut);
    uint64_t state = nbytes;
    for (size_t i = 0; nbytes && i < N_DAMAGED; i++, n++) {
        memcpy(work, seed, nbytes);
        damage(work, nbytes, &state);
        run(work, nbytes);
    }
    return n;
}

int main(int argc, char **argv)
{
    size_t n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    (void)printf("%zu inputs\n", n);
    return n ? 0 : 2;
}
