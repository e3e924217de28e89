#include "tests/client_sdk/data/sentence_piece_library.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <iostream>

namespace tributary::test {
namespace {

void Require(const sentencepiece::util::Status& status) {
  if (status.ok()) return;
  std::cerr << status.ToString() << "\n";
  std::abort();
}

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t at_ = 0;
};

}  // namespace

struct SentencePieceLibrary::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

std::string SentencePieceLibrary::Train(const std::vector<std::string>& lines,
                                        const std::string& flags) {
  std::string model;
  Lines iterator(lines);
  Require(sentencepiece::SentencePieceTrainer::Train(
      "--minloglevel=2 --num_threads=1 --hard_vocab_limit=false " + flags, &iterator, &model));
  return model;
}

SentencePieceLibrary::SentencePieceLibrary(const std::string& model)
    : impl_(std::make_unique<Impl>()) {
  Require(impl_->processor.LoadFromSerializedProto(model));
}

SentencePieceLibrary::~SentencePieceLibrary() = default;

std::vector<int> SentencePieceLibrary::Encode(const std::string& text) const {
  std::vector<int> tokens;
  Require(impl_->processor.Encode(text, &tokens));
  return tokens;
}

std::string SentencePieceLibrary::Decode(const std::vector<int>& tokens) const {
  std::string text;
  Require(impl_->processor.Decode(tokens, &text));
  return text;
}

}  // namespace tributary::test
