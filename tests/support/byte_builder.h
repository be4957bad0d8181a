/* SPDX-License-Identifier: MIT */
/*
 * Building files byte by byte, well-formed or not.
 *
 * hone_bytes_script() appends what a line of words says, so that a table of malformed files reads like a list:
 *
 *   u8=N u16=N u32=N u64=N i32=N f32=X   a number, little-endian (0x... for hexadecimal)
 *   var=N                                a protobuf varint
 *   f=N:W                                a protobuf tag: field N, wire type W
 *   raw=TEXT  str=TEXT                   bytes; bytes after their u64 length. \xHH is a byte
 *   s8=TEXT  s32=TEXT                    bytes after their u8 or u32 length
 *   zero=N  pad=N                        N zero bytes; zeros up to a multiple of N
 *   { ... }                              a protobuf message: its length as a varint, then its bytes
 *   ^                                    marks this position: where the error must be reported
 */
#ifndef HONE_BYTE_BUILDER_H
#define HONE_BYTE_BUILDER_H

#include <stddef.h>
#include <stdint.h>

/* All zero is empty. Memory comes from malloc, outside the reach of hone_mem_fail_after(); running out aborts. */
typedef struct hone_bytes {
    uint8_t *data;
    size_t n, cap;
    size_t mark; /* set by ^ */
} hone_bytes;

void hone_bytes_put(hone_bytes *b, const void *src, size_t nbytes);
void hone_bytes_zero(hone_bytes *b, size_t nbytes);
void hone_bytes_u32(hone_bytes *b, uint32_t v);
void hone_bytes_u64(hone_bytes *b, uint64_t v);

/* An unknown word aborts: it is a mistake in the test. */
void hone_bytes_script(hone_bytes *b, const char *script);

void hone_bytes_free(hone_bytes *b);

#endif
