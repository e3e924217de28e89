#include "server/dashboard/health_server.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

constexpr int kThreads = 2;

void Answer(const absl::Status& status, httplib::Response& response) {
  nlohmann::json body = {{"status", status.ok() ? "ok" : "unavailable"}};
  if (!status.ok()) body["reason"] = std::string(status.message());
  response.status = status.ok() ? 200 : 503;
  response.set_content(body.dump() + "\n", "application/json");
}

}  // namespace

struct HealthServer::Http {
  httplib::Server server;
  int port = 0;
  std::atomic<bool> ended = false;
  std::thread thread;
};

absl::StatusOr<std::unique_ptr<HealthServer>> HealthServer::Create(
    const std::string& host, int port, std::function<absl::Status()> ready) {
  auto http = std::make_unique<Http>();
  httplib::Server& server = http->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_payload_max_length(4096);
  server.set_read_timeout(5);
  server.set_write_timeout(5);
  server.set_keep_alive_max_count(1);
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    Answer(absl::OkStatus(), response);
  });
  server.Get("/readyz",
             [ready = std::move(ready)](const httplib::Request&, httplib::Response& response) {
               Answer(ready(), response);
             });
  if (port == 0) {
    http->port = server.bind_to_any_port(host);
  } else if (server.bind_to_port(host, port)) {
    http->port = port;
  }
  if (http->port <= 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on '", host, ":", port,
                                               "': the address is taken or not of this machine"));
  }
  http->thread = std::thread([&served = *http] {
    served.server.listen_after_bind();
    served.ended = true;
  });
  // Until then a stop would pass unheard.
  while (!server.is_running() && !http->ended) std::this_thread::yield();
  return std::unique_ptr<HealthServer>(new HealthServer(std::move(http)));
}

HealthServer::HealthServer(std::unique_ptr<Http> http) : http_(std::move(http)) {}

HealthServer::~HealthServer() {
  http_->server.stop();
  http_->thread.join();
}

int HealthServer::port() const { return http_->port; }

}  // namespace tributary
