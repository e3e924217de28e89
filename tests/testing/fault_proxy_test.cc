#include "tests/testing/fault_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::test {
namespace {

using ::testing::Gt;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string ReadToEnd(int fd) {
  std::string all, block(1 << 16, '\0');
  for (ssize_t got = 1; got > 0;) {
    got = recv(fd, block.data(), block.size(), 0);
    if (got > 0) all.append(block, 0, static_cast<size_t>(got));
  }
  return all;
}

// Sends false when the other end has gone.
bool SendAll(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// A server that takes `connections` calls one after another: reads all of each, then sends
// `answer`.
class Upstream {
 public:
  Upstream(int connections, std::string answer) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = Loopback(0);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener_, 10), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this, connections, answer = std::move(answer)] {
      for (int i = 0; i < connections; ++i) {
        const int fd = accept(listener_, nullptr, nullptr);
        received.push_back(ReadToEnd(fd));
        SendAll(fd, answer);
        close(fd);
      }
    });
  }
  ~Upstream() {
    Join();
    close(listener_);
  }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  int port = 0;
  std::vector<std::string> received;  // after Join

 private:
  int listener_ = -1;
  std::thread thread_;
};

std::string Call(int port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  if (SendAll(fd, request)) shutdown(fd, SHUT_WR);
  std::string answer = ReadToEnd(fd);
  close(fd);
  return answer;
}

// A client's side of an HTTP/2 connection: `frames` DATA frames of 16 KiB.
std::string Stream(int frames) {
  std::string bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (int i = 0; i < frames; ++i) {
    bytes += std::string("\0\x40\0\0\0\0\0\0\1", 9);
    for (int k = 0; k < 16384; ++k) bytes.push_back(static_cast<char>(i + k * 7));
  }
  return bytes;
}

class FaultProxyTest : public ::testing::Test {
 protected:
  std::unique_ptr<FaultProxy> Start(FaultProxyOptions options) {
    auto proxy = FaultProxy::Start(options, &clock_);
    EXPECT_THAT(proxy, IsOk());
    return *std::move(proxy);
  }
  RealClock clock_;
};

TEST_F(FaultProxyTest, AGoodNetworkPassesEverythingOn) {
  const std::string request = Stream(100), answer = Stream(50);
  Upstream upstream(2, answer);
  const auto proxy = Start({.upstream_port = upstream.port});
  EXPECT_EQ(Call(proxy->port(), request), answer);
  EXPECT_EQ(Call(proxy->port(), "short"), answer);
  upstream.Join();
  EXPECT_EQ(upstream.received, (std::vector<std::string>{request, "short"}));
  EXPECT_EQ(proxy->counts().connections, 2);
  EXPECT_EQ(proxy->counts().up_bytes, static_cast<int64_t>(request.size()) + 5);
  EXPECT_EQ(proxy->counts().down_bytes, 2 * static_cast<int64_t>(answer.size()));
}

TEST_F(FaultProxyTest, FlipsHitSingleBitsOfPayloadsAndOfLengthsAndNothingElse) {
  constexpr int kCalls = 40;
  const std::string request = Stream(100);
  Upstream upstream(kCalls, "");
  const auto proxy = Start({.upstream_port = upstream.port,
                            .seed = 3,
                            .mean_bytes_between_faults = 3e5,
                            .longest_stall = absl::Milliseconds(1)});
  for (int i = 0; i < kCalls; ++i) Call(proxy->port(), request);
  upstream.Join();
  int64_t flipped_data = 0, flipped_lengths = 0, cut = 0;
  for (const std::string& received : upstream.received) {
    if (received.size() < request.size()) ++cut;
    for (size_t i = 0; i < received.size(); ++i) {
      const auto difference = static_cast<uint8_t>(received[i] ^ request[i]);
      if (difference == 0) continue;
      ASSERT_EQ(std::popcount(difference), 1);
      ASSERT_GE(i, 24u);
      const size_t in_frame = (i - 24) % (16384 + 9);
      if (in_frame == 0) {
        EXPECT_EQ(difference, 0x80);
        ++flipped_lengths;
      } else {
        EXPECT_GE(in_frame, 9u + 64u);
        ++flipped_data;
      }
    }
  }
  const FaultProxyCounts counts = proxy->counts();
  EXPECT_THAT(flipped_data, Gt(5));
  EXPECT_THAT(flipped_lengths, Gt(5));
  EXPECT_THAT(cut, Gt(5));
  EXPECT_LE(flipped_data, counts.of(Fault::kFlipData));
  EXPECT_LE(flipped_lengths, counts.of(Fault::kFlipLength));
  EXPECT_LE(cut, counts.of(Fault::kCut));
  EXPECT_THAT(counts.of(Fault::kStall), Gt(5));
  EXPECT_THAT(counts.of(Fault::kDribble), Gt(5));
}

TEST_F(FaultProxyTest, AConnectionIsOvertakenByALaterOne) {
  Upstream upstream(20, "ok");
  const auto proxy = Start({.upstream_port = upstream.port,
                            .seed = 1,
                            .longest_stall = absl::Seconds(20),
                            .overtaken_percent = 40});
  std::vector<std::thread> calls;
  for (int i = 0; i < 19; ++i) {
    calls.emplace_back([&] { EXPECT_EQ(Call(proxy->port(), "x"), "ok"); });
  }
  calls.emplace_back([&] {
    proxy->EndFaults();
    EXPECT_EQ(Call(proxy->port(), "last"), "ok");
  });
  for (std::thread& call : calls) call.join();
}

TEST_F(FaultProxyTest, WithoutAServerConnectionsEnd) {
  const auto proxy = Start({.upstream_port = 1});
  EXPECT_EQ(Call(proxy->port(), "x"), "");
}

}  // namespace
}  // namespace tributary::test
