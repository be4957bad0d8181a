/* SPDX-License-Identifier: MIT */
/* The text files given with --text. */
#ifndef HONE_CLI_TEXT_INPUT_H
#define HONE_CLI_TEXT_INPUT_H

#include "cli/args.h"
#include "hone/status.h"

/*
 * hone_cli_text_read() reads the files of a list, one after the other, into one buffer; "-" is stdin. *text is released
 * with free(). ARG: no such file, or an empty one. DATA: not UTF-8; err->offset is the first bad byte. IO.
 */
hone_status hone_cli_text_read(const hone_cli_list *files, char **text, size_t *nbytes, hone_error *err);

/* hone_cli_texts_read() is hone_cli_text_read(), and tells the bytes of each file. */
hone_status hone_cli_texts_read(const hone_cli_list *files, char **text, size_t *nbytes, size_t *each, hone_error *err);

#endif
