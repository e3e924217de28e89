#include "client_sdk/internal/outbox.h"

#include <fcntl.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/residual_store.h"
#include "common/config/schema.h"
#include "common/digest.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

// What an `update` file says before its payload.
struct Label {
  std::string client, job, job_name, layout_digest;
  int64_t work_order = 0, base_version = 0, num_examples = 0, local_steps = 0;
  double learning_rate = 0, loss = 0, accuracy = 0;
  bool residual = false;  // there is one beside it

  static void Describe(config::Fields<Label>& fields) {
    fields.Add("client", &Label::client, "whose it is").Required().Id();
    fields.Add("job", &Label::job, "for which it is").Required().Id();
    fields.Add("job_name", &Label::job_name, "for people");
    fields.Add("layout_digest", &Label::layout_digest, "hexadecimal").Required();
    fields.Add("work_order", &Label::work_order, "of UpdateInfo").Required();
    fields.Add("base_version", &Label::base_version, "of UpdateInfo").Required();
    fields.Add("num_examples", &Label::num_examples, "of UpdateInfo").Required();
    fields.Add("local_steps", &Label::local_steps, "of UpdateInfo").Required();
    fields.Add("learning_rate", &Label::learning_rate, "of UpdateInfo").Required();
    fields.Add("loss", &Label::loss, "of UpdateInfo").Required();
    fields.Add("accuracy", &Label::accuracy, "of UpdateInfo").Required();
    fields.Add("residual", &Label::residual, "whether residual.safetensors belongs to it");
  }
};

std::string ToJson(const OutgoingUpdate& update, const ClientId& client) {
  const UpdateInfo& info = update.header.info;
  const Label label{.client = client.value(),
                    .job = update.header.job.value(),
                    .job_name = update.job_name,
                    .layout_digest = update.header.layout_digest.ToHex(),
                    .work_order = info.work_order,
                    .base_version = info.base_version,
                    .num_examples = info.num_examples,
                    .local_steps = info.local_steps,
                    .learning_rate = info.learning_rate,
                    .loss = info.loss,
                    .accuracy = info.accuracy,
                    .residual = update.residual.has_value()};
  return config::Print(label).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<OutgoingUpdate> FromLabel(const Label& label, absl::string_view payload) {
  OutgoingUpdate update{.header = {.job = JobId(label.job)}, .job_name = label.job_name};
  TRIB_ASSIGN_OR_RETURN(update.header.layout_digest, Digest::FromHex(label.layout_digest));
  update.header.info = {.work_order = label.work_order,
                        .base_version = label.base_version,
                        .num_examples = label.num_examples,
                        .local_steps = label.local_steps,
                        .learning_rate = label.learning_rate,
                        .loss = label.loss,
                        .accuracy = label.accuracy};
  update.payload = std::make_shared<const std::string>(payload);
  return update;
}

absl::string_view BytesOf(const uint64_t& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string ChecksumOf(const std::vector<absl::string_view>& parts) {
  Xxh3Stream stream;
  for (const absl::string_view part : parts) stream.Update(part);
  const Xxh128 sum = stream.Value();
  return absl::StrCat(BytesOf(sum.low), BytesOf(sum.high));
}

// The JSON and the payload of a whole `update` file. DataLoss.
absl::StatusOr<std::pair<absl::string_view, absl::string_view>> Split(absl::string_view bytes) {
  constexpr size_t kChecksum = sizeof(Xxh128);
  uint64_t length = 0;
  if (bytes.size() < sizeof(length) + kChecksum) return absl::DataLossError("too short");
  const absl::string_view checked = bytes.substr(0, bytes.size() - kChecksum);
  if (ChecksumOf({checked}) != bytes.substr(checked.size())) {
    return absl::DataLossError("the checksum at its end is another");
  }
  std::memcpy(&length, checked.data(), sizeof(length));
  const absl::string_view rest = checked.substr(sizeof(length));
  if (length > rest.size()) return absl::DataLossError("the header is longer than the file");
  return std::pair(rest.substr(0, length), rest.substr(length));
}

}  // namespace

Outbox::Outbox(std::string directory, ClientId client)
    : directory_(std::move(directory)), client_(std::move(client)) {}

OutgoingUpdate* Outbox::update() {
  if (!std::exchange(looked_, true) && !directory_.empty()) {
    absl::StatusOr<OutgoingUpdate> loaded = Load();
    if (loaded.ok()) {
      update_ = *std::move(loaded);
    } else if (!absl::IsNotFound(loaded.status())) {
      log::Warning("update in the outbox not used",
                   {{"path", UpdatePath()}, {"error", loaded.status()}});
      RemoveFiles();
    }
  }
  return update_ ? &*update_ : nullptr;
}

void Outbox::Put(OutgoingUpdate update) {
  looked_ = true;
  update_ = std::move(update);
  if (directory_.empty()) return;
  const absl::Status saved = Save();
  if (saved.ok()) return;
  log::Warning("update not kept across restarts", {{"path", UpdatePath()}, {"error", saved}});
  RemoveFiles();
}

void Outbox::Remove() {
  update_.reset();
  if (!directory_.empty()) RemoveFiles();
}

absl::Status Outbox::Save() const {
  RemoveFiles();
  TRIB_RETURN_IF_ERROR(CreateDirectory(directory_));
  if (update_->residual) {
    TRIB_RETURN_IF_ERROR(
        WriteResidual(ResidualPath(), {client_, update_->header.job}, *update_->residual));
  }
  const std::string json = ToJson(*update_, client_);
  const uint64_t length = json.size();
  const std::vector<absl::string_view> parts = {BytesOf(length), json, *update_->payload};
  const std::string temporary = absl::StrCat(UpdatePath(), ".tmp");
  {
    TRIB_ASSIGN_OR_RETURN(File file, File::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    for (const absl::string_view part : parts) TRIB_RETURN_IF_ERROR(file.Append(part));
    TRIB_RETURN_IF_ERROR(file.Append(ChecksumOf(parts)));
    TRIB_RETURN_IF_ERROR(file.Sync());
  }
  return RenameFile(temporary, UpdatePath());
}

absl::StatusOr<OutgoingUpdate> Outbox::Load() const {
  TRIB_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(UpdatePath()));
  TRIB_ASSIGN_OR_RETURN(const auto parts, Split(bytes));
  TRIB_ASSIGN_OR_RETURN(const config::Node node,
                        config::NodeFromJsonText(std::string(parts.first)));
  TRIB_ASSIGN_OR_RETURN(const Label label, config::Parse<Label>(node));
  if (label.client != client_.value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the update of client '", label.client, "'; this is '", client_.value(), "'"));
  }
  TRIB_ASSIGN_OR_RETURN(OutgoingUpdate update, FromLabel(label, parts.second));
  if (label.residual) {
    absl::StatusOr<Residual> residual = ReadResidual(ResidualPath(), {client_, JobId(label.job)});
    if (residual.ok()) {
      update.residual = *std::move(residual);
    } else {
      log::Warning("residual not used", {{"path", ResidualPath()}, {"error", residual.status()}});
    }
  }
  return update;
}

void Outbox::RemoveFiles() const {
  for (const std::string& path : {UpdatePath(), ResidualPath()}) {
    const absl::Status removed = RemoveFile(path);
    if (!removed.ok()) log::Warning("outbox not emptied", {{"error", removed}});
  }
}

std::string Outbox::UpdatePath() const { return absl::StrCat(directory_, "/update"); }
std::string Outbox::ResidualPath() const {
  return absl::StrCat(directory_, "/residual.safetensors");
}

}  // namespace tributary::sdk
