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
    /* Below 133: removed from ggml.h. From 133: ik_llama.cpp, and PrismML's fork, which took 142 again. */
    static const struct {
        uint32_t id;
        const char *name;
    } names[] = {
        {4, "q4_2"},        {5, "q4_3"},        {31, "q4_0_4_4"},         {32, "q4_0_4_8"}, {33, "q4_0_8_8"},
        {36, "iq4_nl_4_4"}, {37, "iq4_nl_4_8"}, {38, "iq4_nl_8_8"},       {133, "q6_0"},    {134, "iq1_bn"},
        {135, "iq2_bn"},    {136, "q8_k64"},    {137, "iq2_k"},           {138, "iq3_k"},   {139, "iq4_k"},
        {140, "iq5_k"},     {141, "iq6_k"},     {142, "pq2_0 or iq2_tn"}, {143, "iq1_tn"},  {144, "iq4_ks"},
        {145, "iq2_ks"},    {146, "iq4_kss"},   {147, "q8_k16"},          {148, "q8_k32"},  {149, "q8_kr8"},
        {150, "q8_k128"},   {151, "q8_kv"},     {152, "iq5_ks"},          {153, "iq2_kt"},  {154, "iq3_kt"},
        {155, "iq4_kt"},    {156, "iq3_ks"},    {157, "iq2_kl"},          {158, "iq1_kt"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].id == id)
            return names[i].name;
    if (id >= 202 && id <= 399)
        return "of ik_llama.cpp, rows interleaved";
    return id >= 133 && id < 202 ? "of a fork of ggml" : NULL;
}
