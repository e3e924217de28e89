#include "server/coordinator/events.h"

#include <array>
#include <cmath>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

using Json = nlohmann::json;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

constexpr std::array<absl::string_view, 8> kLossCauses = {
    "abandoned",  "timed_out", "not_finite", "wrong_layout",
    "bad_weight", "corrupt",   "too_large",  "recalled"};
constexpr std::array<absl::string_view, 6> kJobStates = {"initialising", "running",   "paused",
                                                         "done",         "cancelled", "failed"};
constexpr std::array<absl::string_view, 5> kJobPhases = {"initialise", "explore", "train",
                                                         "end_task", "sketch"};
constexpr std::array<absl::string_view, 4> kVerbs = {"pause", "resume", "cancel", "next_task"};
constexpr std::array<absl::string_view, 5> kWorkKinds = {"initialise", "train", "evaluate",
                                                         "explore", "sketch"};

template <typename Enum, size_t N>
absl::string_view NameOf(const std::array<absl::string_view, N>& names, Enum value) {
  return names[static_cast<size_t>(value)];
}

template <typename Enum, size_t N>
absl::StatusOr<Enum> FromName(const std::array<absl::string_view, N>& names,
                              absl::string_view name) {
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown name '", name, "'"));
}

int64_t Nanos(absl::Time t) { return absl::ToUnixNanos(t); }

Json InfoJson(const UpdateInfo& info) {
  Json j = {{"work_order", info.work_order},
            {"base_version", info.base_version},
            {"num_examples", info.num_examples},
            {"local_steps", info.local_steps},
            {"learning_rate", info.learning_rate},
            {"loss", info.loss},
            {"accuracy", info.accuracy}};
  if (info.adapter_rank != 0) j["adapter_rank"] = info.adapter_rank;
  return j;
}

UpdateInfo InfoFromJson(const Json& j) {
  return {.work_order = j.at("work_order"),
          .base_version = j.at("base_version"),
          .num_examples = j.at("num_examples"),
          .local_steps = j.at("local_steps"),
          .learning_rate = j.at("learning_rate"),
          .loss = j.at("loss"),
          .accuracy = j.at("accuracy"),
          .adapter_rank = j.value("adapter_rank", int64_t{0})};
}

Json TasksJson(const std::vector<TaskResult>& tasks) {
  Json list = Json::array();
  for (const TaskResult& task : tasks) {
    list.push_back(
        {{"num_examples", task.num_examples}, {"loss", task.loss}, {"accuracy", task.accuracy}});
  }
  return list;
}

Json WhatJson(const JobEvent& e) {
  return std::visit(
      Overloaded{
          [](const event::ClientAvailable& w) {
            Json j = {{"event", "client_available"},
                      {"client", w.client.value()},
                      {"evaluate_only", w.evaluate_only}};
            if (w.task != 0) j["task"] = w.task;
            if (w.adapter_rank != 0) j["adapter_rank"] = w.adapter_rank;
            if (w.memory_bytes != 0) j["memory_bytes"] = w.memory_bytes;
            return j;
          },
          [](const event::ClientGone& w) {
            return Json{{"event", "client_gone"}, {"client", w.client.value()}};
          },
          [](const event::ModelMade& w) {
            return Json{{"event", "model_made"}, {"work_order", w.work_order}};
          },
          [](const event::UpdateArrived& w) {
            Json j = InfoJson(w.info);
            j["event"] = "update_arrived";
            j["bytes"] = w.bytes;
            if (w.checksum) j["xxh128"] = w.checksum->ToHex();
            return j;
          },
          [](const event::EvaluationArrived& w) {
            Json j = {{"event", "evaluation_arrived"},
                      {"work_order", w.work_order},
                      {"num_examples", w.num_examples},
                      {"loss", w.loss},
                      {"accuracy", w.accuracy}};
            if (!w.tasks.empty()) j["tasks"] = TasksJson(w.tasks);
            return j;
          },
          [](const event::WorkFailed& w) {
            return Json{{"event", "work_failed"},
                        {"work_order", w.work_order},
                        {"cause", std::string(LossCauseName(w.cause))},
                        {"message", w.message}};
          },
          [](const event::TimerFired&) {
            return Json{{"event", "timer_fired"}};
          },
          [](const event::VersionPublished& w) {
            Json j = {{"event", "version_published"},
                      {"version", w.version},
                      {"model_digest", w.model_digest.ToHex()},
                      {"server_rate", w.server_rate},
                      {"delta_norm", w.delta_norm}};
            if (w.client_rate != 1.0) j["client_rate"] = w.client_rate;
            if (w.adapter_bytes != 0) {
              j["model_bytes"] = w.model_bytes;
              j["adapter_bytes"] = w.adapter_bytes;
            }
            if (w.tail_energy != 0) j["tail_energy"] = w.tail_energy;
            if (w.dropped_energy != 0) j["dropped_energy"] = w.dropped_energy;
            return j;
          },
          [](const event::PublishFailed& w) {
            return Json{{"event", "publish_failed"}, {"message", w.message}};
          },
          [](const event::Command& w) {
            return Json{{"event", "command"}, {"verb", std::string(NameOf(kVerbs, w.verb))}};
          },
      },
      e.what);
}

// These throw nlohmann's exceptions for missing or mistyped members; the caller catches.

absl::StatusOr<decltype(JobEvent::what)> UpdateFromJson(const Json& j) {
  event::UpdateArrived update{.info = InfoFromJson(j), .bytes = j.at("bytes")};
  if (j.contains("xxh128")) {
    const auto checksum = Xxh128::FromHex(j.at("xxh128").get<std::string>());
    if (!checksum.ok()) return checksum.status();
    update.checksum = *checksum;
  }
  return update;
}

event::EvaluationArrived EvaluationFromJson(const Json& j) {
  event::EvaluationArrived evaluation{
      j.at("work_order"), j.at("num_examples"), j.at("loss"), j.at("accuracy"), {}};
  if (!j.contains("tasks")) return evaluation;
  for (const Json& task : j.at("tasks")) {
    evaluation.tasks.push_back({task.at("num_examples"), task.at("loss"), task.at("accuracy")});
  }
  return evaluation;
}

absl::StatusOr<decltype(JobEvent::what)> WhatFromJson(const Json& j) {
  const std::string kind = j.at("event");
  if (kind == "client_available") {
    return event::ClientAvailable{ClientId(j.at("client")), j.at("evaluate_only"),
                                  j.value("task", int64_t{0}), j.value("adapter_rank", int64_t{0}),
                                  j.value("memory_bytes", int64_t{0})};
  }
  if (kind == "client_gone") return event::ClientGone{ClientId(j.at("client"))};
  if (kind == "model_made") return event::ModelMade{j.at("work_order")};
  if (kind == "update_arrived") return UpdateFromJson(j);
  if (kind == "evaluation_arrived") return EvaluationFromJson(j);
  if (kind == "work_failed") {
    auto cause = FromName<LossCause>(kLossCauses, j.at("cause").get<std::string>());
    if (!cause.ok()) return cause.status();
    return event::WorkFailed{j.at("work_order"), *cause, j.at("message")};
  }
  if (kind == "timer_fired") return event::TimerFired{};
  if (kind == "version_published") {
    auto digest = Digest::FromHex(j.at("model_digest").get<std::string>());
    if (!digest.ok()) return digest.status();
    return event::VersionPublished{j.at("version"),
                                   *digest,
                                   j.at("server_rate"),
                                   j.at("delta_norm"),
                                   j.value("client_rate", 1.0),
                                   j.value("model_bytes", int64_t{0}),
                                   j.value("adapter_bytes", int64_t{0}),
                                   j.value("tail_energy", 0.0),
                                   j.value("dropped_energy", 0.0)};
  }
  if (kind == "publish_failed") return event::PublishFailed{j.at("message")};
  if (kind == "command") {
    auto verb = FromName<event::Command::Verb>(kVerbs, j.at("verb").get<std::string>());
    if (!verb.ok()) return verb.status();
    return event::Command{*verb};
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown event '", kind, "'"));
}

Json OrderJson(const WorkOrder& o) {
  Json j = {{"action", "send_work"},      {"work_order", o.id},
            {"client", o.client.value()}, {"kind", std::string(WorkKindName(o.kind))},
            {"version", o.version},       {"group", o.group}};
  if (o.task != 0) j["task"] = o.task;
  if (o.tasks != 1) j["tasks"] = o.tasks;
  if (o.adapter_rank != 0) j["adapter_rank"] = o.adapter_rank;
  if (o.local_steps) j["local_steps"] = *o.local_steps;
  if (o.client_rate != 1.0) j["client_rate"] = o.client_rate;
  if (o.server_rate) j["server_rate"] = *o.server_rate;
  if (o.deadline != absl::InfiniteFuture()) j["deadline"] = Nanos(o.deadline);
  if (o.expected_at) j["expected"] = Nanos(*o.expected_at);
  return j;
}

Json PublicationJson(const action::PublishVersion& p) {
  Json parts = Json::array();
  for (const auto& part : p.parts) {
    parts.push_back({{"work_order", part.info.work_order},
                     {"client", part.client.value()},
                     {"staleness", part.staleness}});
    if (p.given_coefficients) parts.back()["coefficient"] = part.coefficient;
    if (part.rate_ratio != 1.0) parts.back()["rate_ratio"] = part.rate_ratio;
  }
  Json j = {{"action", "publish_version"},
            {"version", p.version},
            {"group", p.group},
            {"parts", std::move(parts)}};
  if (p.learns) j["learns"] = std::string(WorkKindName(WorkKindOf(*p.learns)));
  if (p.mix_models) j["mix_models"] = true;
  if (p.beside_momentum) j["beside_momentum"] = true;
  if (p.repeated > 0) j["repeated"] = p.repeated;
  if (std::isfinite(p.client_rate_limit)) j["client_rate_limit"] = p.client_rate_limit;
  return j;
}

}  // namespace

absl::string_view WorkKindName(WorkKind kind) { return NameOf(kWorkKinds, kind); }

std::optional<CollectKind> CollectKindOf(WorkKind kind) {
  if (kind == WorkKind::kExplore) return CollectKind::kExplore;
  if (kind == WorkKind::kSketch) return CollectKind::kSketch;
  return std::nullopt;
}

WorkKind WorkKindOf(CollectKind kind) {
  return kind == CollectKind::kExplore ? WorkKind::kExplore : WorkKind::kSketch;
}

absl::string_view LossCauseName(LossCause cause) { return NameOf(kLossCauses, cause); }
absl::string_view JobStateName(JobState state) { return NameOf(kJobStates, state); }
absl::string_view JobPhaseName(JobPhase phase) { return NameOf(kJobPhases, phase); }

absl::StatusOr<JobState> ParseJobState(absl::string_view name) {
  return FromName<JobState>(kJobStates, name);
}

nlohmann::json ToJson(const JobEvent& event) {
  Json json = WhatJson(event);
  json["at"] = Nanos(event.at);
  return json;
}

absl::StatusOr<JobEvent> JobEventFromJson(const nlohmann::json& json) {
  try {
    auto what = WhatFromJson(json);
    if (!what.ok()) return what.status();
    return JobEvent{absl::FromUnixNanos(json.at("at")), *std::move(what)};
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("not an event: ", e.what()));
  }
}

nlohmann::json ToJson(const JobAction& action, absl::Time at) {
  Json json =
      std::visit(Overloaded{
                     [](const action::SendWork& a) { return OrderJson(a.order); },
                     [](const action::RecallWork& a) {
                       return Json{{"action", "recall_work"},
                                   {"work_order", a.work_order},
                                   {"client", a.client.value()}};
                     },
                     [](const action::InstallModel& a) {
                       return Json{{"action", "install_model"}, {"work_order", a.work_order}};
                     },
                     [](const action::PublishVersion& a) { return PublicationJson(a); },
                     [](const action::DropUpdate& a) {
                       return Json{{"action", "drop_update"}, {"work_order", a.work_order}};
                     },
                     [](const action::WakeAt& a) {
                       Json j = {{"action", "wake_at"}};
                       if (a.at != absl::InfiniteFuture()) j["wake"] = Nanos(a.at);
                       return j;
                     },
                     [](const action::RecordEvaluation& a) {
                       Json j = {{"action", "record_evaluation"},
                                 {"version", a.version},
                                 {"num_examples", a.num_examples},
                                 {"loss", a.loss},
                                 {"accuracy", a.accuracy}};
                       if (!a.tasks.empty()) j["tasks"] = TasksJson(a.tasks);
                       return j;
                     },
                     [](const action::SetState& a) {
                       return Json{{"action", "set_state"},
                                   {"state", std::string(JobStateName(a.state))},
                                   {"reason", a.reason}};
                     },
                 },
                 action);
  json["at"] = Nanos(at);
  return json;
}

}  // namespace tributary
