#include "server/server.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "server/dashboard/health_server.h"
#include "server/live/live_host.h"
#include "server/live/pool_parallel.h"
#include "server/rpc/rpc_server.h"
#include "server/store/store_registry.h"

namespace tributary {
namespace {

absl::StatusOr<std::optional<TlsKeys>> ReadTls(const ServerConfig& config) {
  if (!config.tls) return std::nullopt;
  TlsKeys keys;
  const std::pair<const std::string*, std::string*> files[] = {
      {&config.tls->certificate, &keys.certificate},
      {&config.tls->key, &keys.key},
      {&config.tls->client_ca, &keys.client_ca}};
  for (const auto& [path, text] : files) {
    auto content = ReadWholeFile(*path);
    if (!content.ok()) return WithContext(content.status(), "tls");
    *text = *std::move(content);
  }
  return keys;
}

SpoolOptions MakeSpoolOptions(const ServerConfig& config) {
  const auto bytes = [](int64_t limit) { return static_cast<uint64_t>(limit); };
  return {.dir = config.data_dir + "/spool",
          .limits = {.total_bytes = bytes(config.limits.spool_bytes),
                     .bytes_per_job = bytes(config.limits.spool_bytes_per_job),
                     .bytes_per_client = bytes(config.limits.spool_bytes_per_client)},
          .min_free_bytes = bytes(config.limits.min_free_bytes)};
}

LiveOptions MakeLiveOptions(const ServerConfig& config) {
  return {.data_dir = config.data_dir,
          .max_update_bytes = config.limits.max_update_bytes,
          .max_wait = config.check_in.max_wait_seconds,
          .grace = config.check_in.grace_seconds,
          .retry_min = config.check_in.retry_min_seconds,
          .retry_max = config.check_in.retry_max_seconds,
          .check_ins_per_second = config.check_in.per_second,
          .longest_rest = config.check_in.longest_rest_seconds};
}

int AggregationThreads(const ServerConfig& config) {
  const int64_t all = std::max(1U, std::thread::hardware_concurrency());
  return static_cast<int>(config.aggregation_threads.value_or(all));
}

}  // namespace

// Members in the order in which they are made; each uses those before it.
struct Server::Parts {
  Parts(ServerConfig c, Clock* k) : config(std::move(c)), clock(k), loop(k) {}

  const ServerConfig config;
  Clock* const clock;
  std::unique_ptr<ModelStore> store;
  std::unique_ptr<Spool> spool;
  EventLoop loop;
  std::unique_ptr<WorkerPool> helpers;  // of the thread that makes a version
  std::unique_ptr<PoolParallel> parallel;
  std::unique_ptr<LiveHost> host;
  std::unique_ptr<WorkerPool> pool;
  std::unique_ptr<RpcServer> rpc;
  std::unique_ptr<HealthServer> health;
  bool ended = false;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Shutdown(); }

int Server::grpc_port() const { return parts_->rpc->port(); }
int Server::http_port() const { return parts_->health->port(); }

absl::Status Server::CheckFiles(const ServerConfig& config) { return ReadTls(config).status(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Create(const ServerConfig& config, Clock* clock) {
  TRIB_ASSIGN_OR_RETURN(const std::optional<TlsKeys> tls, ReadTls(config));
  TRIB_RETURN_IF_ERROR(CreateDirectory(config.data_dir));
  // From here on a failure ends what has been made.
  auto server = std::unique_ptr<Server>(new Server(std::make_unique<Parts>(config, clock)));
  Parts& p = *server->parts_;
  TRIB_ASSIGN_OR_RETURN(
      p.store, StoreRegistry().Create({.name = "sqlite", .options = {{"path", config.data_dir}}}));
  TRIB_ASSIGN_OR_RETURN(p.spool, Spool::Open(MakeSpoolOptions(config)));
  p.pool = std::make_unique<WorkerPool>(static_cast<int>(config.worker_threads));
  if (const int helpers = AggregationThreads(config) - 1; helpers > 0) {
    p.helpers = std::make_unique<WorkerPool>(helpers);
    p.parallel = std::make_unique<PoolParallel>(p.helpers.get(), helpers);
  }
  TRIB_ASSIGN_OR_RETURN(p.host,
                        LiveHost::Create(MakeLiveOptions(config), {.loop = &p.loop,
                                                                   .pool = p.pool.get(),
                                                                   .clock = clock,
                                                                   .store = p.store.get(),
                                                                   .spool = p.spool.get(),
                                                                   .parallel = p.parallel.get()}));
  p.loop.Start();
  TRIB_ASSIGN_OR_RETURN(
      p.rpc, RpcServer::Create(
                 config.listen, tls,
                 {.loop = &p.loop,
                  .pool = p.pool.get(),
                  .clock = clock,
                  .host = p.host.get(),
                  .store = p.store.get(),
                  .server_agent = absl::StrCat("tributaryd/", kVersion),
                  .max_wait = config.check_in.max_wait_seconds,
                  .limits = {.max_chunk_bytes = config.limits.max_chunk_bytes,
                             .in_flight_bytes = config.limits.in_flight_bytes,
                             .in_flight_bytes_per_client = config.limits.in_flight_bytes_per_client,
                             .bdp_window = config.limits.bdp_window},
                  .operators = tls ? config.tls->operators : std::vector<std::string>{}}));
  TRIB_ASSIGN_OR_RETURN(const Address http, ParseAddress(config.http.listen));
  TRIB_ASSIGN_OR_RETURN(p.health, HealthServer::Create(http.host, http.port, [host = p.host.get()] {
                          return host->Ready();
                        }));
  return server;
}

void Server::Shutdown() {
  Parts& p = *parts_;
  if (std::exchange(p.ended, true)) return;
  const absl::Time until = p.clock->Now() + p.config.shutdown_seconds;
  if (p.rpc != nullptr) {
    Mutex mu;
    CondVar changed;
    bool drained = false;
    // Shared with the loop for as long as the loop runs, which is less than this call.
    p.loop.Post([&] {
      p.host->Drain([&] {
        MutexLock lock(mu);
        drained = true;
        changed.NotifyAll();
      });
    });
    {
      MutexLock lock(mu);
      while (!drained && p.clock->Now() < until) {
        changed.WaitFor(mu, until - p.clock->Now());
      }
      if (!drained) log::Warning("work under way was cut off; it goes on at the next start");
    }
    p.rpc->Shutdown(std::max(absl::ZeroDuration(), until - p.clock->Now()));
    p.loop.Stop();
  }
  p.health = nullptr;
  p.loop.Stop();
  p.pool = nullptr;
  p.rpc = nullptr;
  p.host = nullptr;
}

}  // namespace tributary
