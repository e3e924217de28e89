// DeltaReader: deltas one after another as one sequence of bytes, wherever a store has them.
#ifndef TRIBUTARY_SERVER_STORE_DELTA_READER_H_
#define TRIBUTARY_SERVER_STORE_DELTA_READER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/store/model_store.h"

namespace tributary {

class DeltaReader final : public ModelReader {
 public:
  // Fills `out` from `offset` of one delta on; asked for nothing beyond its end. Thread-safe.
  using ReadDelta = std::function<absl::Status(uint64_t offset, absl::Span<char> out)>;

  // Of the version that the deltas lead to.
  DeltaReader(VersionRecord record, LayoutPtr layout)
      : record_(std::move(record)), layout_(std::move(layout)) {}

  void Append(DeltaPart part, ReadDelta read);

  const VersionRecord& record() const override { return record_; }
  const LayoutPtr& layout() const override { return layout_; }
  uint64_t size_bytes() const override { return size_; }
  absl::Span<const DeltaPart> deltas() const override { return parts_; }
  absl::Status Read(uint64_t offset, uint64_t length, std::string& out) const override;

 private:
  const VersionRecord record_;
  const LayoutPtr layout_;
  std::vector<DeltaPart> parts_;
  std::vector<ReadDelta> reads_;  // as many
  uint64_t size_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_DELTA_READER_H_
