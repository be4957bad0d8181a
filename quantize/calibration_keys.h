/* SPDX-License-Identifier: MIT */
/* What a calibration file calls its parts: what follows a weight's name, and its own metadata. */
#ifndef HONE_CALIBRATION_KEYS_H
#define HONE_CALIBRATION_KEYS_H

#define HONE_IN_SUM2 ".in_sum2"
#define HONE_IN_SUM ".in_sum" /* beside each HONE_IN_GRAM */
#define HONE_COUNTS ".counts"
#define HONE_IN_GRAM ".in_gram"
#define HONE_CALIBRATION_WEIGHTS "hone.calibration.weights"
#define HONE_CALIBRATION_GRAMS "hone.calibration.grams"

#endif
