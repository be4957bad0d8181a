/* SPDX-License-Identifier: MIT */
/* Runs all suites, or those named on the command line. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE(area) Suite *hone_suite_##area(void);
#include "tests/suites.h"
#undef SUITE

static const struct {
    const char *area;
    Suite *(*make)(void);
} suites[] = {
#define SUITE(area) {#area, hone_suite_##area},
#include "tests/suites.h"
#undef SUITE
};

int main(int argc, char **argv)
{
    /* Seconds for a test that asks for no others: a machine busy with other work needs many times what an idle one
     * does. */
    (void)setenv("CK_DEFAULT_TIMEOUT", "60", 0);
    SRunner *runner = srunner_create(NULL);
    int chosen = 0;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], suites[i].area) == 0;
        if (!wanted)
            continue;
        srunner_add_suite(runner, suites[i].make());
        chosen++;
    }
    if (chosen == 0) {
        (void)fprintf(stderr, "no such suite\n");
        return 2;
    }
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
