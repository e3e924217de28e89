#include "tests/bench/bare_stream.h"

#include <signal.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "tributary/v1/coordinator.grpc.pb.h"

namespace tributary::bench {
namespace {

constexpr int64_t kChunkBytes = int64_t{1} << 20;
constexpr int kMessageBytes = 2 << 20;

class Discard final : public grpc::ServerReadReactor<v1::UploadUpdateRequest> {
 public:
  Discard() { StartRead(&request_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

  v1::UploadUpdateRequest request_;
};

class BareService final : public v1::Coordinator::CallbackService {
  grpc::ServerReadReactor<v1::UploadUpdateRequest>* UploadUpdate(
      grpc::CallbackServerContext*, v1::UploadUpdateResponse*) override {
    return new Discard;
  }
};

bool Send(const std::string& address, const TlsFiles& tls, int64_t bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxSendMessageSize(kMessageBytes);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!tls.empty()) {
    credentials = grpc::SslCredentials({.pem_root_certs = test::ReadFile(tls.ca),
                                        .pem_private_key = test::ReadFile(tls.key),
                                        .pem_cert_chain = test::ReadFile(tls.certificate)});
  }
  const auto stub =
      v1::Coordinator::NewStub(grpc::CreateCustomChannel(address, credentials, arguments));
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  v1::UploadUpdateResponse response;
  const auto writer = stub->UploadUpdate(&context, &response);
  const std::string data(kChunkBytes, 'x');
  v1::UploadUpdateRequest request;
  for (int64_t sent = 0; sent < bytes; sent += kChunkBytes) {
    request.mutable_chunk()->set_offset(static_cast<uint64_t>(sent));
    request.mutable_chunk()->set_data(data.data(), data.size());
    if (!writer->Write(request)) return false;
  }
  writer->WritesDone();
  return writer->Finish().ok();
}

}  // namespace

int ServeBare(const TlsFiles& tls) {
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (!tls.empty()) {
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = test::ReadFile(tls.ca);
    options.pem_key_cert_pairs.push_back(
        {test::ReadFile(tls.key), test::ReadFile(tls.certificate)});
    credentials = grpc::SslServerCredentials(options);
  }
  BareService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("localhost:0", credentials, &port);
  builder.SetMaxReceiveMessageSize(kMessageBytes);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("bare %d\n", port);
  std::fflush(stdout);
  server->Wait();  // until it is killed
  return 0;
}

BareServer::BareServer(std::unique_ptr<test::Subprocess> process, std::string address, TlsFiles tls)
    : process_(std::move(process)), address_(std::move(address)), tls_(std::move(tls)) {}

absl::StatusOr<std::unique_ptr<BareServer>> BareServer::Start(const TlsFiles& tls) {
  std::vector<std::string> command = {"/proc/self/exe", "--serve-bare"};
  if (!tls.empty()) {
    command.insert(command.end(), {"--ca", tls.ca, "--cert", tls.certificate, "--key", tls.key});
  }
  TRIB_ASSIGN_OR_RETURN(auto process, test::Subprocess::Start(command));
  TRIB_ASSIGN_OR_RETURN(const auto line, process->WaitForLine("bare ([0-9]+)", absl::Seconds(30)));
  return std::unique_ptr<BareServer>(
      new BareServer(std::move(process), absl::StrCat("localhost:", line[1]), tls));
}

absl::StatusOr<double> BareServer::Measure(int clients, int64_t bytes) const {
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  RealClock clock;
  const absl::Time start = clock.Now();
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] { failed += Send(address_, tls_, bytes) ? 0 : 1; });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = absl::ToDoubleSeconds(clock.Now() - start);
  if (failed > 0) return absl::InternalError(absl::StrCat(failed.load(), " bare streams failed"));
  return static_cast<double>(clients) * static_cast<double>(bytes) / seconds;
}

}  // namespace tributary::bench
