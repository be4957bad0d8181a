/* SPDX-License-Identifier: MIT */
/* Every suite of the test program, one line each: SUITE(area) is Suite *hone_suite_area(void) in test_area.c. */
SUITE(base)
SUITE(plan)
SUITE(json)
SUITE(safetensors)
SUITE(gguf)
SUITE(checkpoint)
SUITE(sentencepiece)
SUITE(decode)
SUITE(encode)
SUITE(kernels)
