/* SPDX-License-Identifier: MIT */
#include "formats/ggml_types.h"

hone_dtype hone_dtype_from_ggml_id(uint32_t id)
{
    for (int d = HONE_INVALID + 1; d < HONE_N_DTYPES; d++) {
        const int known = hone_dtype_describe((hone_dtype)d)->ggml_id;
        if (known >= 0 && (uint32_t)known == id)
            return (hone_dtype)d;
    }
    return HONE_INVALID;
}

const char *hone_ggml_type_name(uint32_t id)
{
    /* Up to 42: ggml.h, removed ones included. From 133: ik_llama.cpp. */
    static const struct {
        uint32_t id;
        const char *name;
    } names[] = {
        {4, "q4_2"},        {5, "q4_3"},        {9, "q8_1"},        {15, "q8_k"},     {16, "iq2_xxs"}, {17, "iq2_xs"},
        {18, "iq3_xxs"},    {19, "iq1_s"},      {20, "iq4_nl"},     {21, "iq3_s"},    {22, "iq2_s"},   {23, "iq4_xs"},
        {29, "iq1_m"},      {31, "q4_0_4_4"},   {32, "q4_0_4_8"},   {33, "q4_0_8_8"}, {34, "tq1_0"},   {35, "tq2_0"},
        {36, "iq4_nl_4_4"}, {37, "iq4_nl_4_8"}, {38, "iq4_nl_8_8"}, {39, "mxfp4"},    {40, "nvfp4"},   {41, "q1_0"},
        {42, "q2_0"},       {133, "q6_0"},      {137, "iq2_k"},     {138, "iq3_k"},   {139, "iq4_k"},  {140, "iq5_k"},
        {141, "iq6_k"},     {144, "iq4_ks"},    {145, "iq2_ks"},    {146, "iq4_kss"}, {152, "iq5_ks"}, {153, "iq2_kt"},
        {154, "iq3_kt"},    {155, "iq4_kt"},    {156, "iq3_ks"},    {157, "iq2_kl"},  {158, "iq1_kt"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].id == id)
            return names[i].name;
    return id >= 202 && id <= 399 ? "of ik_llama.cpp, rows interleaved" : NULL;
}
