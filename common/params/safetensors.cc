#include "common/params/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/exhausted.h"
#include "common/params/half.h"
#include "common/params/safetensors_header.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little, "values are read as they stand");

using safetensors::Header;
using safetensors::TensorEntry;

constexpr char kBuffersKey[] = "tributary.buffers";

// Random access to the bytes of a file or a string.
struct Source {
  uint64_t size = 0;
  std::function<absl::Status(uint64_t offset, char* to, size_t count)> read;
};

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Opened {
  Header header;
  uint64_t data_offset = 0;  // bytes from the start of the source
};

absl::StatusOr<Opened> ReadHeader(const Source& source) {
  uint64_t length = 0;
  if (source.size < sizeof(length)) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors: ", source.size, " bytes are too few for a header"));
  }
  TRIB_RETURN_IF_ERROR(source.read(0, reinterpret_cast<char*>(&length), sizeof(length)));
  const uint64_t most = std::min(safetensors::kMaxHeaderBytes, source.size - sizeof(length));
  if (length > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors: a header of ", length, " bytes; at most ", most, " can be"));
  }
  std::string json(length, '\0');
  TRIB_RETURN_IF_ERROR(source.read(sizeof(length), json.data(), length));
  Opened opened{.data_offset = sizeof(length) + length};
  TRIB_ASSIGN_OR_RETURN(opened.header,
                        safetensors::ParseHeader(json, source.size - opened.data_offset));
  return opened;
}

// Marks the buffers and takes our key out of the metadata.
absl::Status ApplyBufferList(Header& header, std::vector<ParamLayout::Tensor>& tensors) {
  const auto found = header.metadata.find(kBuffersKey);
  if (found == header.metadata.end()) return absl::OkStatus();
  const nlohmann::json list = nlohmann::json::parse(found->second, nullptr, false);
  if (!list.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors: metadata '", kBuffersKey, "' must be a JSON list of names"));
  }
  std::map<std::string, ParamLayout::Tensor*> by_name;
  for (ParamLayout::Tensor& tensor : tensors) by_name[tensor.name] = &tensor;
  for (const nlohmann::json& name : list) {
    const auto tensor = name.is_string() ? by_name.find(name.get<std::string>()) : by_name.end();
    if (tensor == by_name.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "safetensors: metadata '", kBuffersKey, "' names no tensor of the file: ", Dump(name)));
    }
    tensor->second->kind = TensorKind::kBuffer;
  }
  header.metadata.erase(found);
  return absl::OkStatus();
}

template <typename Stored, typename Convert>
absl::Status ReadConverted(const Source& source, uint64_t offset, absl::Span<float> to,
                           Convert convert) {
  std::vector<Stored> block(std::min<size_t>(to.size(), 16384));
  for (size_t done = 0; done < to.size();) {
    const size_t count = std::min(block.size(), to.size() - done);
    TRIB_RETURN_IF_ERROR(source.read(offset + done * sizeof(Stored),
                                     reinterpret_cast<char*>(block.data()),
                                     count * sizeof(Stored)));
    for (size_t i = 0; i < count; ++i) to[done + i] = convert(block[i]);
    done += count;
  }
  return absl::OkStatus();
}

absl::Status ReadTensor(const Source& source, uint64_t offset, absl::string_view dtype,
                        absl::Span<float> to) {
  if (dtype == "F16") return ReadConverted<uint16_t>(source, offset, to, HalfToFloat);
  if (dtype == "BF16") return ReadConverted<uint16_t>(source, offset, to, BFloat16ToFloat);
  if (dtype == "F64") {
    return ReadConverted<double>(source, offset, to,
                                 [](double v) { return static_cast<float>(v); });
  }
  return source.read(offset, reinterpret_cast<char*>(to.data()), to.size() * sizeof(float));
}

absl::StatusOr<ParamVector> ReadFrom(const Source& source,
                                     std::map<std::string, std::string>* metadata) {
  TRIB_ASSIGN_OR_RETURN(Opened opened, ReadHeader(source));
  Header& header = opened.header;
  std::vector<ParamLayout::Tensor> tensors;
  for (const TensorEntry& entry : header.tensors) {
    tensors.push_back({.name = entry.name, .shape = entry.shape});
  }
  TRIB_RETURN_IF_ERROR(ApplyBufferList(header, tensors));
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  ParamVector params = ParamVector::Uninitialized(std::move(layout));
  for (const TensorEntry& entry : header.tensors) {
    const uint64_t offset = opened.data_offset + entry.begin;
    TRIB_RETURN_IF_ERROR(ReadTensor(source, offset, entry.dtype, params.View(entry.name)));
  }
  if (metadata != nullptr) *metadata = std::move(header.metadata);
  return params;
}

absl::Status FileError(absl::string_view verb, const std::string& path) {
  const int error = errno;
  const std::string message =
      absl::StrCat("cannot ", verb, " ", path, ": ", std::generic_category().message(error));
  if (error == ENOSPC || error == EDQUOT) {
    return MarkExhausted(absl::UnavailableError(message), kDisk);
  }
  return absl::FailedPreconditionError(message);
}

class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(open(path.c_str(), flags, 0666)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  absl::Status Check() const { return fd_ >= 0 ? absl::OkStatus() : FileError("open", path_); }

  absl::StatusOr<uint64_t> Size() const {
    struct stat info {};
    if (fstat(fd_, &info) != 0) return FileError("read", path_);
    if (!S_ISREG(info.st_mode)) {
      return absl::FailedPreconditionError(absl::StrCat(path_, " is not a regular file"));
    }
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status ReadAt(uint64_t offset, char* to, size_t count) const {
    while (count > 0) {
      const ssize_t got = pread(fd_, to, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FileError("read", path_);
      if (got == 0) {
        return absl::FailedPreconditionError(absl::StrCat(path_, " became shorter while read"));
      }
      to += got;
      offset += static_cast<uint64_t>(got);
      count -= static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

  absl::Status Append(absl::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t put = write(fd_, bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return FileError("write", path_);
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() const {
    return fsync(fd_) == 0 ? absl::OkStatus() : FileError("sync", path_);
  }

 private:
  const std::string path_;
  const int fd_;
};

absl::StatusOr<std::unique_ptr<File>> OpenFile(const std::string& path) {
  if (std::error_code error; !std::filesystem::exists(path, error) && !error) {
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  }
  auto file = std::make_unique<File>(path, O_RDONLY | O_CLOEXEC);
  TRIB_RETURN_IF_ERROR(file->Check());
  return file;
}

absl::StatusOr<Source> SourceOf(const File& file) {
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  Source source{.size = size};
  source.read = [&file](uint64_t offset, char* to, size_t count) {
    return file.ReadAt(offset, to, count);
  };
  return source;
}

class OpenedSafetensorsFile final : public SafetensorsFile {
 public:
  OpenedSafetensorsFile(std::unique_ptr<File> file, Source source, Opened opened)
      : file_(std::move(file)),
        source_(std::move(source)),
        data_offset_(opened.data_offset),
        tensors_(std::move(opened.header.tensors)) {
    for (const TensorEntry& tensor : tensors_) by_name_.emplace(tensor.name, &tensor);
  }

  const std::vector<int64_t>* ShapeOf(absl::string_view name) const override {
    const TensorEntry* const tensor = Find(name);
    return tensor == nullptr ? nullptr : &tensor->shape;
  }

  absl::Status Read(absl::string_view name, absl::Span<float> to) const override {
    const TensorEntry* const tensor = Find(name);
    if (tensor == nullptr) {
      return absl::NotFoundError(absl::StrCat("safetensors: there is no tensor '", name, "'"));
    }
    size_t size = 1;  // the product fits: the file has as many values
    for (const int64_t dimension : tensor->shape) size *= static_cast<size_t>(dimension);
    if (size != to.size()) {
      return absl::InvalidArgumentError(absl::StrCat("safetensors: tensor '", name, "' has ", size,
                                                     " values; expected ", to.size()));
    }
    return ReadTensor(source_, data_offset_ + tensor->begin, tensor->dtype, to);
  }

 private:
  const TensorEntry* Find(absl::string_view name) const {
    const auto found = by_name_.find(std::string(name));
    return found == by_name_.end() ? nullptr : found->second;
  }

  const std::unique_ptr<File> file_;
  const Source source_;
  const uint64_t data_offset_;
  const std::vector<TensorEntry> tensors_;
  std::map<std::string, const TensorEntry*> by_name_;
};

absl::Status WriteAndSync(const ParamVector& params, const std::string& header,
                          const std::string& path) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
  TRIB_RETURN_IF_ERROR(file.Check());
  TRIB_RETURN_IF_ERROR(file.Append(header));
  const absl::Span<const float> values = params.values();
  TRIB_RETURN_IF_ERROR(
      file.Append({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}));
  return file.Sync();
}

absl::Status Replace(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return FileError("rename a file to", to);
  const std::filesystem::path parent = std::filesystem::path(to).parent_path();
  const File folder(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  TRIB_RETURN_IF_ERROR(folder.Check());
  return folder.Sync();
}

}  // namespace

absl::StatusOr<ParamVector> ParseSafetensors(absl::string_view bytes,
                                             std::map<std::string, std::string>* metadata) {
  Source source{.size = bytes.size()};
  source.read = [bytes](uint64_t offset, char* to, size_t count) {
    if (count > 0) std::memcpy(to, bytes.data() + offset, count);
    return absl::OkStatus();
  };
  return ReadFrom(source, metadata);
}

absl::StatusOr<ParamVector> ReadSafetensors(const std::string& path,
                                            std::map<std::string, std::string>* metadata) {
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, OpenFile(path));
  TRIB_ASSIGN_OR_RETURN(const Source source, SourceOf(*file));
  absl::StatusOr<ParamVector> params = ReadFrom(source, metadata);
  if (!params.ok()) return WithContext(params.status(), path);
  return params;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(std::unique_ptr<File> file, OpenFile(path));
  TRIB_ASSIGN_OR_RETURN(Source source, SourceOf(*file));
  absl::StatusOr<Opened> opened = ReadHeader(source);
  if (!opened.ok()) return WithContext(opened.status(), path);
  return std::make_unique<OpenedSafetensorsFile>(std::move(file), std::move(source),
                                                 *std::move(opened));
}

std::string SerializeSafetensorsHeader(const ParamLayout& layout,
                                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> all = metadata;
  nlohmann::json buffers = nlohmann::json::array();
  std::string tensors;
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    if (tensor.kind == TensorKind::kBuffer) buffers.push_back(tensor.name);
    absl::StrAppend(&tensors, tensors.empty() ? "" : ",", Dump(tensor.name),
                    ":{\"dtype\":\"F32\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                    "],\"data_offsets\":[", 4 * tensor.offset, ",",
                    4 * (tensor.offset + tensor.size), "]}");
  }
  if (!buffers.empty()) all[kBuffersKey] = Dump(buffers);
  std::string json = all.empty() ? "{" : absl::StrCat("{\"__metadata__\":", Dump(all), ",");
  absl::StrAppend(&json, tensors, "}");
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + json;
}

absl::Status WriteSafetensors(const ParamVector& params, const std::string& path,
                              const std::map<std::string, std::string>& metadata) {
  static std::atomic<uint64_t> counter{0};
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid(), "-", counter.fetch_add(1));
  const std::string header = SerializeSafetensorsHeader(*params.layout(), metadata);
  absl::Status status = WriteAndSync(params, header, temporary);
  if (status.ok()) status = Replace(temporary, path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace tributary
