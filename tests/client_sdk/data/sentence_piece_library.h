// The library sentencepiece, as the oracle of our reader of its models. Standard types alone: its
// headers have an absl::string_view of their own, so no file can include both them and Abseil's.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_LIBRARY_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_LIBRARY_H_

#include <memory>
#include <string>
#include <vector>

namespace tributary::test {

// A failure ends the test program.
class SentencePieceLibrary {
 public:
  // Trains a model on the lines; `flags` as spm_train takes them, "--model_type=bpe
  // --vocab_size=50". Its .model file's bytes.
  static std::string Train(const std::vector<std::string>& lines, const std::string& flags);

  explicit SentencePieceLibrary(const std::string& model);
  ~SentencePieceLibrary();

  std::vector<int> Encode(const std::string& text) const;
  std::string Decode(const std::vector<int>& tokens) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_LIBRARY_H_
