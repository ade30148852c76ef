// Package convert makes still pictures into other formats and sizes.
//
// A [Format] says what is wanted. [Format.Touches] tells whether a file has to be
// converted for it at all, [Check] whether it can be, and [Format.Write] does it.
// Colour profiles and other metadata do not survive, colours are taken for sRGB.
//
// The picture is decoded whole: 4 bytes a pixel, 8 for one of 16 bits a channel,
// and 4 more for a copy where one is needed. The size is bounded by [MaxPixels],
// and whoever calls bounds how many are converted at once. A PNG of 100 million
// pixels took 0.4 GB to become JPEG and 0.8 GB to become WebP.
package convert
