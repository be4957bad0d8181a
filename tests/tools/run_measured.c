/* SPDX-License-Identifier: MIT */
/* usage: run_measured COMMAND ARGUMENT...   runs it, then prints "SECONDS PEAK_RSS_KIB" to standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    const pid_t child = fork();
    if (child == 0) {
        (void)execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) != child) {
        perror("run_measured");
        return 1;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    (void)fprintf(stderr, "%.2f %ld\n", (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec),
                  usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
