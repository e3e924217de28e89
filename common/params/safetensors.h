// Reads and writes the safetensors format (docs/wire_format.md): 8 bytes of header length,
// a JSON header {name: {dtype, shape, data_offsets}}, then the tensors' bytes.
//
// The reader takes hostile bytes: it bounds the header, checks that offsets are ordered,
// in range and match the shapes, and allocates nothing before that.
#ifndef TRIBUTARY_COMMON_PARAMS_SAFETENSORS_H_
#define TRIBUTARY_COMMON_PARAMS_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/params/param_vector.h"

namespace tributary {

// F32, F16, BF16 and F64 are read (and become float32); F32 is written. Buffers are marked in
// "__metadata__" under "tributary.buffers" (a JSON list of names); without that key all
// tensors are trainable. Other metadata is kept apart in `metadata` when not null. The
// layout's order is the order of the data. InvalidArgument: what is wrong, of which tensor.
absl::StatusOr<ParamVector> ParseSafetensors(
    absl::string_view bytes, std::map<std::string, std::string>* metadata = nullptr);

// Reads a file without holding its bytes twice. NotFound: no such file; FailedPrecondition:
// it cannot be read.
absl::StatusOr<ParamVector> ReadSafetensors(const std::string& path,
                                            std::map<std::string, std::string>* metadata = nullptr);

// A file whose tensors are read one by one, straight to where they go. Immutable, thread-safe.
class SafetensorsFile {
 public:
  // Errors as ReadSafetensors.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  virtual ~SafetensorsFile() = default;

  // Null if there is no tensor of that name.
  virtual const std::vector<int64_t>* ShapeOf(absl::string_view name) const = 0;

  // The tensor's values, of any dtype that is read, as float32. NotFound: no such tensor;
  // InvalidArgument: it has not `to.size()` values; FailedPrecondition: it cannot be read.
  virtual absl::Status Read(absl::string_view name, absl::Span<float> to) const = 0;
};

// What stands before the tensors' bytes, which follow in the layout's order: the length and
// the JSON, padded with spaces to a multiple of 8 bytes.
std::string SerializeSafetensorsHeader(const ParamLayout& layout,
                                       const std::map<std::string, std::string>& metadata = {});

// Writes a temporary file beside `path`, fsyncs it, renames it and fsyncs the folder: after a
// crash there is the old file or the new one. FailedPrecondition: it cannot be written.
absl::Status WriteSafetensors(const ParamVector& params, const std::string& path,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_SAFETENSORS_H_
