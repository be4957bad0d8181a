/* SPDX-License-Identifier: MIT */
/*
 * Marks of texts: enough of a text to recognize it, or a good part of it, later on, and little of it.
 *
 * A text's windows are the 128 bytes from each of its characters on. Of their hashes (XXH3-64) the least few are its
 * marks: a sample of the windows that is the same wherever the text is found. A file made with the help of texts
 * carries
 *
 *   hone.calibration.texts   for each text: u64 bytes | u64 n_marks | u64 mark, ascending | ...
 *
 * an array of u64 in GGUF, in the __metadata__ of safetensors 16 hexadecimal digits for each. Where they are to take
 * little room, hone.recipe has them instead, as "texts": base64 without padding of, for each text
 *
 *   u8 n_marks | u16 bytes = (low 11 bits) << (high 5) | n_marks of 40 bits, the high ones of a mark
 *
 * numbers little-endian. 40 bits are all that is compared.
 */
#ifndef HONE_TEXT_MARKS_H
#define HONE_TEXT_MARKS_H

#include "formats/gguf_writer.h"
#include "hone/checkpoint.h"

#define HONE_TEXT_MARKS_KEY "hone.calibration.texts"

/* All zero: of no text. Release with hone_text_marks_deinit(). */
typedef struct hone_text_marks {
    uint64_t *records;
    size_t n, cap; /* u64 */
} hone_text_marks;

void hone_text_marks_deinit(hone_text_marks *m);

/* hone_text_marks_add() adds a text that is one of n_texts, which share some 256 marks, but have 8 at least. A text
 * that is there already is not added. NOMEM. */
hone_status hone_text_marks_add(hone_text_marks *m, const char *text, size_t nbytes, size_t n_texts, hone_error *err);

/* hone_text_marks_take() adds what a file carries, if anything. DATA: it is malformed. NOMEM. */
hone_status hone_text_marks_take(hone_text_marks *m, const hone_checkpoint *file, hone_error *err);

/* hone_text_marks_join() adds the texts of another. NOMEM. */
hone_status hone_text_marks_join(hone_text_marks *m, const hone_text_marks *other, hone_error *err);

/* hone_text_marks_thin() leaves about so many marks in all, and two of each text at least. Fewer notice only larger
 * parts. */
void hone_text_marks_thin(hone_text_marks *m, size_t most);

/* hone_text_marks_put() puts them into a header; none are not put. */
void hone_text_marks_put(const hone_text_marks *m, hone_gguf_header *header);

/* hone_text_marks_hex() returns them as safetensors has them (hone_release()); NULL when out of memory. */
char *hone_text_marks_hex(const hone_text_marks *m);

/* hone_text_marks_packed() returns them as hone.recipe has them (hone_release()), "" for none; NULL when out of memory.
 */
char *hone_text_marks_packed(const hone_text_marks *m);

/*
 * hone_text_marks_share() estimates the share of a text that is part of the marked ones, 0 .. 1; a single window that
 * agrees counts nothing. Of texts that are long beside this one a part of a hundredth is noticed mostly. NOMEM.
 */
hone_status hone_text_marks_share(const hone_text_marks *m, const char *text, size_t nbytes, double *share,
                                  hone_error *err);

#endif
