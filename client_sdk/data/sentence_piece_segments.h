// How SentencePiece cuts normalised text into pieces: by one of two algorithms.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_SEGMENTS_H_
#define TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_SEGMENTS_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "client_sdk/data/sentence_piece_vocabulary.h"

namespace tributary {

struct Segment {
  absl::string_view text;  // a part of the text that was cut
  int32_t token = 0;
};

// Both give segments that together are `text`. What no piece covers is the unknown token's, a
// character at a time; unused pieces are not used; user-defined ones are used wherever they stand.

// The segmentation of the largest sum of scores, by dynamic programming (Kudo 2018, "Subword
// regularization", section 3.2). An unknown character has the lowest score minus 10. Equal sums:
// the one found first, from the left, the shorter piece first.
std::vector<Segment> BestUnigrams(const SentencePieceVocabulary& vocabulary,
                                  absl::string_view text);

// From characters on, the two neighbours whose union is the piece of the highest score become one,
// the leftmost first, until no union is a piece (Sennrich et al. 2016, "Neural machine translation
// of rare words with subword units").
std::vector<Segment> MergedPairs(const SentencePieceVocabulary& vocabulary, absl::string_view text);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_SEGMENTS_H_
