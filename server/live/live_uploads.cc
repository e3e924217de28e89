// Updates: header, chunks (UploadStream), verification, the answer.
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/live/live_host.h"

namespace tributary {
namespace {

constexpr int64_t kMostCounted = int64_t{1} << 48;  // examples or steps of one work order

Refusal RefusalOf(LossCause cause) {
  switch (cause) {
    case LossCause::kNotFinite:
      return Refusal::kNotFinite;
    case LossCause::kBadWeight:
      return Refusal::kBadWeight;
    case LossCause::kCorrupt:
      return Refusal::kCorrupt;
    case LossCause::kTooLarge:
      return Refusal::kTooLarge;
    case LossCause::kWrongLayout:
      return Refusal::kWrongLayout;
    default:
      return Refusal::kUnknownWorkOrder;
  }
}

// The longest payload that an honest client can make: no codec doubles a dense update.
int64_t LongestUpdate(const ParamLayout& layout) { return 8 * layout.size() + (int64_t{64} << 10); }

// What the header alone shows to be wrong. The codes are those of ClassifyRefusal.
absl::Status CheckHeader(const UploadHeader& header, const WorkOrder& order,
                         const LayoutPtr& layout, int64_t max_update_bytes, const Spool& spool) {
  const auto too_large = [&](int64_t bound) {
    return absl::ResourceExhaustedError(
        absl::StrCat("total_bytes: found ", header.total_bytes, ", at most ", bound));
  };
  if (header.total_bytes > static_cast<uint64_t>(max_update_bytes)) {
    return too_large(max_update_bytes);
  }
  if (const absl::Status fits = spool.CheckSize(header.total_bytes); !fits.ok()) {
    return absl::ResourceExhaustedError(fits.message());
  }
  if (order.kind == WorkKind::kInitialise) {
    if (header.layout == nullptr) {
      return absl::InvalidArgumentError("layout: missing; the first model comes with its layout");
    }
    const auto expected = static_cast<uint64_t>(header.layout->size()) * sizeof(float);
    if (header.total_bytes != expected) {
      return absl::InvalidArgumentError(absl::StrCat("total_bytes: found ", header.total_bytes,
                                                     ", the layout makes it ", expected));
    }
    return absl::OkStatus();
  }
  if (header.layout_digest != layout->digest().ToBytes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("layout_digest: not the one asked for, which is ", layout->digest().ToHex()));
  }
  if (header.info.base_version != order.version) {
    return absl::InvalidArgumentError(absl::StrCat("base_version: found ", header.info.base_version,
                                                   ", the work order's is ", order.version));
  }
  if (header.total_bytes > static_cast<uint64_t>(LongestUpdate(*layout))) {
    return too_large(LongestUpdate(*layout));
  }
  const auto countable = [](int64_t n) { return n >= 1 && n <= kMostCounted; };
  if (!countable(header.info.num_examples) || !countable(header.info.local_steps)) {
    return absl::FailedPreconditionError(
        absl::StrCat("num_examples and local_steps: found ", header.info.num_examples, " and ",
                     header.info.local_steps, ", allowed are integers from 1 to ", kMostCounted));
  }
  for (const double figure : {header.info.learning_rate, header.info.loss, header.info.accuracy}) {
    if (!std::isfinite(figure)) {
      return absl::OutOfRangeError("learning_rate, loss and accuracy must be finite");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSum(const PayloadBytes& payload, const UploadStream& stream) {
  std::optional<Xxh128> checksum = stream.received();
  if (!checksum) {
    TRIB_ASSIGN_OR_RETURN(checksum, payload.Checksum());
  }
  if (*checksum == stream.header().checksum) return absl::OkStatus();
  return absl::DataLossError("xxh128: the payload's differs from the one in the header");
}

absl::Status KeepFirstModel(const PayloadBytes& payload, const UploadHeader& header,
                            const std::string& path) {
  ParamVector model = ParamVector::Uninitialized(header.layout);
  TRIB_RETURN_IF_ERROR(payload.Read(
      0, absl::MakeSpan(reinterpret_cast<char*>(model.values().data()), payload.size())));
  TRIB_RETURN_IF_ERROR(CheckFinite(*header.layout, model.values()));
  return WriteSafetensors(model, path);
}

// Passes by itself: the same bytes may be verified again later.
bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsNotFound(status) || absl::IsAborted(status);
}

}  // namespace

std::optional<UploadAnswer> LiveHost::SettledAnswer(LiveJob& job, const UploadHeader& header) {
  const WorkOrderId id = header.info.work_order;
  const auto answered = job.answered.find(id);
  if (answered != job.answered.end() && answered->second == header.client) {
    return UploadAnswer{.state = UploadAnswer::State::kAccepted,
                        .durable_bytes = header.total_bytes,
                        .message = "already have it"};
  }
  const LiveOrder* order = Confirm(job, header.client, id);
  if (order != nullptr && order->order.kind != WorkKind::kEvaluate) return std::nullopt;
  ++job.refused["unknown_work_order"];
  return UploadAnswer{
      .state = UploadAnswer::State::kRefused,
      .refusal = Refusal::kUnknownWorkOrder,
      .message = absl::StrCat("work order ", id, " is not out to client ", header.client.value())};
}

void LiveHost::OpenUpload(UploadHeader header, Callback<OpenedUpload> done) {
  if (draining_) return done(absl::UnavailableError("the server is shutting down"));
  const auto enrolled = Enrolled(header.client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto found = RequireJob(header.job);
  if (!found.ok()) return done(found.status());
  LiveJob& job = **found;
  const auto settle = [&](UploadAnswer answer) {
    journal_.AfterCommit([answer = std::move(answer), done = std::move(done)]() mutable {
      done(OpenedUpload{.answer = std::move(answer), .stream = nullptr});
    });
  };
  if (auto answer = SettledAnswer(job, header)) return settle(*std::move(answer));
  const WorkOrderId id = header.info.work_order;
  LiveOrder& order = job.orders.at(id);
  header.info.adapter_rank = order.order.adapter_rank;
  const LayoutPtr layout = job.LayoutFor(order.order);
  if (const absl::Status wrong =
          CheckHeader(header, order.order, layout, options_.max_update_bytes, *deps_.spool);
      !wrong.ok()) {
    return RefuseUpload(job, id, wrong, [settle](absl::StatusOr<UploadAnswer> answer) mutable {
      settle(*std::move(answer));
    });
  }
  if (disk_alarm_.on()) {
    const absl::Status full =
        MarkExhausted(absl::ResourceExhaustedError(disk_alarm_.reason()), kDisk);
    return done(OpenedUpload{.answer = PutOff(job, header.client, full), .stream = nullptr});
  }
  std::unique_ptr<UpdateCheck> check;
  if (const WorkKind kind = order.order.kind; kind != WorkKind::kInitialise) {
    // Without the order's seed: where the values belong is not checked.
    check = std::make_unique<UpdateCheck>(
        job.executor->CodecOf(kind), header.info,
        CodecContext{.layout = layout, .mask = job.mask.get(), .version = order.order.version},
        header.total_bytes);
  }
  auto stream = std::make_shared<UploadStream>(std::move(header), std::move(check), deps_.pool,
                                               deps_.spool, deps_.clock);
  order.upload = stream;
  stream->Open([this, loop = deps_.loop, stream,
                done = std::move(done)](absl::StatusOr<uint64_t> durable) mutable {
    loop->Post(
        [this, stream = std::move(stream), status = durable.status(),
         done = std::move(done)]() mutable { Opened(std::move(stream), status, std::move(done)); });
  });
}

void LiveHost::Opened(std::shared_ptr<UploadStream> stream, const absl::Status& status,
                      Callback<OpenedUpload> done) {
  const UploadHeader& header = stream->header();
  LiveJob& job = *FindJob(header.job);
  if (!ExhaustedOf(status).empty()) {
    if (!absl::IsResourceExhausted(status)) NoteDisk(status);  // it has failed, not been refused
    return done(OpenedUpload{.answer = PutOff(job, header.client, status), .stream = nullptr});
  }
  if (!status.ok()) return done(status);
  if (auto answer = SettledAnswer(job, header)) {  // meanwhile
    if (!stream->was_complete()) {
      job.ended() ? RemoveAllSpooled(job) : RemoveSpooled(header.job, {header.info.work_order});
    }
    return done(OpenedUpload{.answer = *std::move(answer), .stream = nullptr});
  }
  done(OpenedUpload{.answer = std::nullopt, .stream = std::move(stream)});
}

void LiveHost::RefuseUpload(LiveJob& job, WorkOrderId order, const absl::Status& why,
                            Callback<UploadAnswer> done) {
  const LossCause cause = ClassifyRefusal(why);
  std::string message(why.message());
  Fail(job, order, cause, message);
  done(UploadAnswer{.state = UploadAnswer::State::kRefused,
                    .refusal = RefusalOf(cause),
                    .message = std::move(message)});
}

void LiveHost::FinishUpload(std::shared_ptr<UploadStream> stream, Callback<UploadAnswer> done) {
  UploadStream& s = *stream;
  s.Finish([this, loop = deps_.loop, stream = std::move(stream),
            done = std::move(done)](absl::StatusOr<uint64_t> durable) mutable {
    loop->Post([this, stream = std::move(stream), durable, done = std::move(done)]() mutable {
      if (!durable.ok()) {
        NoteDisk(durable.status());
        return done(durable.status());
      }
      if (*durable == stream->header().total_bytes) return Verify(stream, std::move(done));
      done(UploadAnswer{.state = UploadAnswer::State::kPartial, .durable_bytes = *durable});
    });
  });
}

// ---- verification ----------------------------------------------------------------------

void LiveHost::Verify(std::shared_ptr<UploadStream> stream, Callback<UploadAnswer> done) {
  const UploadHeader& header = stream->header();
  LiveJob& job = *FindJob(header.job);
  const WorkOrderId id = header.info.work_order;
  if (auto answer = SettledAnswer(job, header)) {
    journal_.AfterCommit([answer = *std::move(answer), done = std::move(done)]() mutable {
      done(std::move(answer));
    });
    return;
  }
  auto& waiting = verifying_[{header.job, id}];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  ++under_way_;
  const WorkOrder& order = job.orders.at(id).order;
  numerics_.Run([this, stream = std::move(stream), kind = order.kind, seed = order.seed,
                 executor = job.executor, path = job.InitialPath(options_.data_dir),
                 spool = deps_.spool, loop = deps_.loop] {
    const UploadHeader& h = stream->header();
    const auto verify = [&]() -> absl::Status {
      TRIB_ASSIGN_OR_RETURN(File file, spool->OpenPayload(h.job, h.info.work_order));
      TRIB_ASSIGN_OR_RETURN(PayloadBytes payload, PayloadBytes::Of(std::move(file)));
      TRIB_RETURN_IF_ERROR(CheckSum(payload, *stream));
      if (kind == WorkKind::kInitialise) return KeepFirstModel(payload, h, path);
      const bool adapter = kind == WorkKind::kTrain && executor->adapters() != nullptr;
      if (adapter) return executor->Check(h.info, std::move(payload), seed);
      return stream->check()->Finish(std::move(payload));
    };
    loop->Post([this, stream, status = verify()] { Judge(*stream, status); });
  });
}

void LiveHost::Judge(const UploadStream& stream, const absl::Status& status) {
  const UploadHeader& header = stream.header();
  --under_way_;
  LiveJob& job = *FindJob(header.job);
  const WorkOrderId id = header.info.work_order;
  auto waiting = std::move(verifying_.extract({header.job, id}).mapped());
  const auto answer_all = [&](absl::StatusOr<UploadAnswer> answer) {
    journal_.AfterCommit([answer = std::move(answer), waiting = std::move(waiting)]() mutable {
      for (auto& done : waiting) done(answer);
    });
  };
  CheckDrained();
  if (auto settled = SettledAnswer(job, header)) return answer_all(*std::move(settled));
  if (IsTransient(status)) {
    NoteDisk(status);
    return answer_all(absl::UnavailableError(status.message()));
  }
  if (absl::IsDataLoss(status) && stream.resumed_at() > 0) {
    // What an earlier stream left may be what is damaged: begin again.
    RemoveSpooled(header.job, {id});
    return answer_all(UploadAnswer{.state = UploadAnswer::State::kPartial, .durable_bytes = 0});
  }
  if (!status.ok()) return RefuseUpload(job, id, status, answer_all);
  Accept(job, header);
  answer_all(
      UploadAnswer{.state = UploadAnswer::State::kAccepted, .durable_bytes = header.total_bytes});
}

void LiveHost::Accept(LiveJob& job, const UploadHeader& header) {
  const WorkOrderId id = header.info.work_order;
  const WorkKind kind = job.orders.at(id).order.kind;
  const auto collects = CollectKindOf(kind);
  const LayoutPtr dense = collects       ? job.collections.at(*collects).layout
                          : job.adapters ? job.adapters->ordinary()
                                         : job.layout;
  const uint64_t dense_bytes =
      dense == nullptr ? 0 : static_cast<uint64_t>(dense->size()) * sizeof(float);
  ClientRecord& client = clients_.at(header.client).record;
  client.uplink_bytes += header.total_bytes;
  ++client.updates;
  Save(clients_.at(header.client));
  job.answered[id] = header.client;
  RemoveOrder(job, id);
  log::Info("update accepted", {{"job", job.id().value()},
                                {"client", header.client.value()},
                                {"order", id},
                                {"bytes", header.total_bytes}});
  if (kind == WorkKind::kInitialise) return Feed(job, event::ModelMade{id});
  job.uplink_bytes_dense += dense_bytes;
  Feed(job, event::UpdateArrived{header.info, static_cast<int64_t>(header.total_bytes),
                                 header.checksum});
}

void LiveHost::RemoveSpooled(const JobId& job, std::vector<WorkOrderId> orders) {
  Discard([job, orders = std::move(orders), spool = deps_.spool] {
    absl::Status all;
    for (const WorkOrderId order : orders) all.Update(spool->Remove(job, order));
    return all;
  });
}

void LiveHost::RemoveAllSpooled(const LiveJob& job) {
  const auto remove = [id = job.id(), spool = deps_.spool] { return spool->RemoveJob(id); };
  // What is to be kept is moved away first, which may have to wait for room.
  if (job.keeps_updates()) return OnDisk([remove](ModelStore&) { return remove(); });
  Discard(remove);
}

// Accepted updates whose time is over.
void LiveHost::Retire(const LiveJob& job, std::vector<WorkOrderId> orders) {
  if (!job.keeps_updates()) return RemoveSpooled(job.id(), std::move(orders));
  std::vector<std::pair<WorkOrderId, std::string>> files;
  files.reserve(orders.size());
  for (const WorkOrderId order : orders) files.emplace_back(order, KeptPath(job, order));
  OnDisk([id = job.id(), files = std::move(files), spool = deps_.spool](ModelStore&) {
    absl::Status all;
    for (const auto& [order, path] : files) all.Update(spool->Keep(id, order, path));
    return all;
  });
}

std::string LiveHost::KeptPath(const LiveJob& job, WorkOrderId order) const {
  return absl::StrCat(job.KeptDir(options_.data_dir), "/", UpdateFile(order));
}

// ---- models out ------------------------------------------------------------------------

void LiveHost::OpenModel(const ClientId& client, const JobId& job_id, Version version,
                         const std::optional<HeldVersion>& held, Callback<ReaderPtr> done) {
  const auto enrolled = Enrolled(client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto job = RequireJob(job_id);
  if (!job.ok()) return done(job.status());
  for (const auto& [of_job, order] : (*enrolled)->orders) {
    if (of_job == job_id) Confirm(**job, client, order);
  }
  deps_.pool->Run([store = deps_.store, job_id, version, held, done = std::move(done)]() mutable {
    auto reader = OpenDelivery(*store, job_id, version, held);
    if (!reader.ok()) return done(reader.status());
    done(ReaderPtr(*std::move(reader)));
  });
}

void LiveHost::OpenProgram(const ClientId& client, const JobId& job_id,
                           Callback<std::shared_ptr<const File>> done) {
  const auto enrolled = Enrolled(client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto job = RequireJob(job_id);
  if (!job.ok()) return done(job.status());
  for (const auto& [of_job, order] : (*enrolled)->orders) {
    if (of_job == job_id) Confirm(**job, client, order);
  }
  const JobController* const controller = (*job)->controller.get();
  if (controller == nullptr || !controller->spec().model.program) {
    return done(absl::NotFoundError(absl::StrCat("job ", job_id.value(), " has no program")));
  }
  deps_.pool->Run([files = files_.get(), program = *controller->spec().model.program,
                   done = std::move(done)]() mutable {
    auto file = files->OpenForReading(FileDigestOf(program));
    if (!file.ok()) return done(file.status());
    done(std::make_shared<const File>(*std::move(file)));
  });
}

void LiveHost::CountDownlink(const ClientId& client, const JobId& job_id, uint64_t bytes) {
  LiveJob* const job = FindJob(job_id);
  const auto known = clients_.find(client);
  if (job == nullptr || known == clients_.end()) return;
  job->downlink_bytes += bytes;
  for (const auto& [of_job, order] : known->second.orders) {
    if (of_job == job_id) Confirm(*job, client, order);
  }
}

std::shared_ptr<const SentMask> LiveHost::MaskOf(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : it->second->sent_mask;
}

}  // namespace tributary
