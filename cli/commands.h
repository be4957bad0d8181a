/* SPDX-License-Identifier: MIT */
/* The commands. Each takes its own arguments, argv[0] being its name, and returns the program's exit code. */
#ifndef HONE_CLI_COMMANDS_H
#define HONE_CLI_COMMANDS_H

int hone_cmd_inspect(int argc, char **argv);
int hone_cmd_convert(int argc, char **argv);
int hone_cmd_quantize(int argc, char **argv);
int hone_cmd_calibrate(int argc, char **argv);
int hone_cmd_perplexity(int argc, char **argv);
int hone_cmd_verify(int argc, char **argv);
int hone_cmd_diff(int argc, char **argv);
int hone_cmd_check(int argc, char **argv);
int hone_cmd_tokenize(int argc, char **argv);

#endif
