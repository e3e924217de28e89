#include "tests/testing/fault_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tributary::test {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr int kSocketBufferBytes = 16 << 10;  // what is under way when a connection is cut
constexpr size_t kDribbleBytes = 1000;
constexpr size_t kPrefaceBytes = 24;  // RFC 9113, section 3.4: before a client's first frame
constexpr size_t kFrameHeaderBytes = 9;
constexpr int kLengthBit = 0x80;  // 8 MiB more than any window lets through: noticed at once
constexpr size_t kLargeFrame = 8 << 10;
constexpr size_t kMessageHead = 64;  // more than gRPC's and protobuf's bytes before a chunk's data

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void SetOption(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

void Prepare(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void ShrinkBuffers(int fd) {
  SetOption(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);
  SetOption(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
}

void Close(int& fd, bool reset) {
  if (fd < 0) return;
  const linger hard{.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(std::exchange(fd, -1));
}

// Where in an HTTP/2 connection the next byte is. Changes bytes that were asked for on their way.
class Frames {
 public:
  Frames(bool from_client, Rng rng)
      : skip_(from_client ? kPrefaceBytes : 0), rng_(std::move(rng)) {}

  void ArmDataFlip() { flip_data_ = true; }
  void ArmLengthFlip() { flip_length_ = true; }

  // `flipped(fault)` is called for each change that was made.
  template <typename Flipped>
  void Pass(std::string& block, const Flipped& flipped) {
    for (size_t at = 0; at < block.size();) {
      const size_t left = block.size() - at;
      if (skip_ > 0) {
        const size_t step = std::min(skip_, left);
        skip_ -= step;
        at += step;
      } else if (header_.size() < kFrameHeaderBytes) {
        const bool data = header_.empty() && left > 3 && block[at + 3] == 0;
        header_.push_back(block[at]);
        if (flip_length_ && data) {
          block[at] = static_cast<char>(block[at] ^ kLengthBit);
          flip_length_ = false;
          flipped(Fault::kFlipLength);
        }
        ++at;
        if (header_.size() == kFrameHeaderBytes) Begin();
      } else {
        const size_t step = std::min(payload_ - passed_, left);
        const size_t low = passed_ < kMessageHead ? kMessageHead - passed_ : 0;
        if (flip_data_ && header_[3] == 0 && payload_ >= kLargeFrame && low < step) {
          char& victim = block[at + low + Below(step - low)];
          victim = static_cast<char>(victim ^ (1 << Below(8)));
          flip_data_ = false;
          flipped(Fault::kFlipData);
        }
        passed_ += step;
        at += step;
        if (passed_ == payload_) header_.clear();
      }
    }
  }

 private:
  void Begin() {
    const auto byte = [this](size_t i) { return static_cast<uint8_t>(header_[i]); };
    payload_ = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
    passed_ = 0;
    if (payload_ == 0) header_.clear();
  }
  size_t Below(size_t n) { return static_cast<size_t>(rng_.UniformInt(static_cast<int64_t>(n))); }

  size_t skip_;
  Rng rng_;
  std::string header_;  // of the frame that passes
  size_t payload_ = 0;
  size_t passed_ = 0;
  bool flip_data_ = false;
  bool flip_length_ = false;
};

}  // namespace

class FaultProxy::Connection {
 public:
  Connection(FaultProxy* proxy, int client, Rng rng)
      : proxy_(proxy),
        client_(client),
        rng_(std::move(rng)),
        up_(true, rng_.Split("up")),
        down_(false, rng_.Split("down")) {
    for (Way* way : {&up_, &down_}) way->until_fault = NextGap();
  }
  ~Connection() { End(false); }

  bool connected() const { return server_ >= 0; }
  bool ended() const { return client_ < 0; }
  absl::Time connect_at = absl::InfiniteFuture();  // while it waits to be overtaken

  void Connect() {
    connect_at = absl::InfiniteFuture();
    server_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ShrinkBuffers(server_);
    const sockaddr_in address = Loopback(proxy_->options_.upstream_port);
    if (connect(server_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      return End(false);
    }
    Prepare(server_);
  }

  // When something will happen by itself.
  absl::Time WakesAt(absl::Time now) const {
    absl::Time wake = connect_at;
    for (const absl::Time at : {stalled_until_, up_.next_read, down_.next_read}) {
      if (at > now) wake = std::min(wake, at);
    }
    return wake;
  }

  // What to wait for: the client's end, then the server's.
  void Watch(absl::Time now, std::vector<pollfd>& out) const {
    out.push_back({.fd = -1, .events = 0, .revents = 0});
    out.push_back({.fd = -1, .events = 0, .revents = 0});
    if (!connected() || now < stalled_until_) return;
    pollfd* const ends = &out[out.size() - 2];
    const auto want = [](pollfd& end, int fd, int16_t event) {
      end.fd = fd;
      end.events = static_cast<int16_t>(end.events | event);
    };
    for (const Way* way : {&up_, &down_}) {
      const bool up = way == &up_;
      if (!way->waiting.empty()) {
        want(ends[up ? 1 : 0], up ? server_ : client_, POLLOUT);
      } else if (!way->at_end && now >= way->next_read) {
        want(ends[up ? 0 : 1], up ? client_ : server_, POLLIN);
      }
    }
  }

  void Serve(absl::Time now) {
    if (!connected() || now < stalled_until_) return;
    Move(up_, client_, server_, now);
    if (!ended()) Move(down_, server_, client_, now);
    if (!ended() && up_.done() && down_.done()) End(false);
  }

 private:
  struct Way {
    Way(bool from_client, Rng rng) : frames(from_client, std::move(rng)) {}
    bool done() const { return at_end && waiting.empty(); }

    Frames frames;
    std::string waiting;  // read, not passed on
    double until_fault = 0;
    size_t dribble = 0;  // bytes that still go in small pieces
    bool cut = false;    // once `waiting` has passed
    absl::Time next_read = absl::InfinitePast();
    bool at_end = false;  // its sender has said all
  };

  double NextGap() {
    const double mean = proxy_->options_.mean_bytes_between_faults;
    return mean > 0 ? rng_.Exponential(mean) : 1e300;
  }

  void Move(Way& way, int from, int to, absl::Time now) {
    const bool due = way.waiting.empty() && !way.at_end && now >= way.next_read;
    if (due && !Read(way, from, now)) return End(false);
    while (!way.waiting.empty() && now >= stalled_until_) {
      size_t piece = way.waiting.size();
      if (way.dribble > 0) piece = std::min(piece, static_cast<size_t>(1 + rng_.UniformInt(16)));
      const ssize_t sent = send(to, way.waiting.data(), piece, MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (sent < 0) return End(false);
      way.waiting.erase(0, static_cast<size_t>(sent));
      way.dribble -= std::min(way.dribble, static_cast<size_t>(sent));
    }
    if (!way.waiting.empty()) return;
    if (way.cut) return End(rng_.Bernoulli(0.5));
    if (way.at_end) shutdown(to, SHUT_WR);
  }

  // False: the connection is broken.
  bool Read(Way& way, int from, absl::Time now) {
    std::string block(kReadBytes, '\0');
    const ssize_t got = recv(from, block.data(), block.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    way.at_end = got == 0;
    block.resize(static_cast<size_t>(got));
    (&way == &up_ ? proxy_->up_bytes_ : proxy_->down_bytes_) += got;
    if (proxy_->options_.bytes_per_second > 0) {
      way.next_read =
          now + absl::Seconds(static_cast<double>(got) / proxy_->options_.bytes_per_second);
    }
    if (!proxy_->faults_over_) Disturb(way, block, now);
    way.frames.Pass(block, [this](Fault fault) { Count(fault); });
    way.waiting = std::move(block);
    return true;
  }

  void Disturb(Way& way, std::string& block, absl::Time now) {
    way.until_fault -= static_cast<double>(block.size());
    if (way.until_fault > 0 || block.empty()) return;
    const auto at = static_cast<size_t>(way.until_fault + static_cast<double>(block.size()));
    way.until_fault = NextGap();
    switch (const auto fault = static_cast<Fault>(rng_.UniformInt(kFaults)); fault) {
      case Fault::kCut:
        block.resize(at);
        way.cut = true;
        return Count(fault);
      case Fault::kStall:
        stalled_until_ = now + proxy_->options_.longest_stall * rng_.Uniform();
        return Count(fault);
      case Fault::kDribble:
        way.dribble = kDribbleBytes;
        return Count(fault);
      case Fault::kFlipData:
        return way.frames.ArmDataFlip();  // counted when it is done
      case Fault::kFlipLength:
        return way.frames.ArmLengthFlip();
    }
  }

  void Count(Fault fault) { ++proxy_->faults_[static_cast<int>(fault)]; }

  // A reset hits one end; the other one sees an orderly close.
  void End(bool reset) {
    const bool hit_client = rng_.Bernoulli(0.5);
    Close(client_, reset && hit_client);
    Close(server_, reset && !hit_client);
  }

  FaultProxy* const proxy_;
  int client_;
  int server_ = -1;
  Rng rng_;
  Way up_, down_;
  absl::Time stalled_until_ = absl::InfinitePast();
};

FaultProxy::FaultProxy(FaultProxyOptions options, const Clock* clock)
    : options_(options), clock_(clock), rng_(options.seed) {}

absl::StatusOr<std::unique_ptr<FaultProxy>> FaultProxy::Start(FaultProxyOptions options,
                                                              const Clock* clock) {
  auto proxy = std::unique_ptr<FaultProxy>(new FaultProxy(options, clock));
  const int fd = proxy->listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ShrinkBuffers(fd);
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      pipe2(proxy->wake_, O_CLOEXEC) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no listening socket: ", std::system_category().message(errno)));
  }
  Prepare(fd);
  proxy->port_ = ntohs(address.sin_port);
  proxy->thread_ = std::thread([p = proxy.get()] { p->Run(); });
  return proxy;
}

FaultProxy::~FaultProxy() {
  Close(wake_[1], false);
  if (thread_.joinable()) thread_.join();
  Close(wake_[0], false);
  Close(listener_, false);
}

FaultProxyCounts FaultProxy::counts() const {
  FaultProxyCounts counts{.connections = connections_,
                          .overtaken = overtaken_,
                          .up_bytes = up_bytes_,
                          .down_bytes = down_bytes_};
  for (int i = 0; i < kFaults; ++i) counts.faults[i] = faults_[i];
  return counts;
}

void FaultProxy::Accept(absl::Time now) {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  Prepare(fd);
  auto connection =
      std::make_unique<Connection>(this, fd, rng_.Split(static_cast<uint64_t>(++connections_)));
  if (!faults_over_ && rng_.UniformInt(100) < options_.overtaken_percent) {
    connection->connect_at = now + options_.longest_stall;
  } else {
    connection->Connect();
    for (auto& held : open_) {
      if (held->connect_at == absl::InfiniteFuture()) continue;
      ++overtaken_;
      held->Connect();
    }
  }
  open_.push_back(std::move(connection));
}

void FaultProxy::Run() {
  for (;;) {
    const absl::Time now = clock_->Now();
    absl::Time wake = absl::InfiniteFuture();
    std::vector<pollfd> watched = {{.fd = wake_[0], .events = POLLIN, .revents = 0},
                                   {.fd = listener_, .events = POLLIN, .revents = 0}};
    for (auto& connection : open_) {
      if (connection->connect_at <= now) connection->Connect();
      connection->Watch(now, watched);
      wake = std::min(wake, connection->WakesAt(now));
    }
    const int timeout_ms = wake == absl::InfiniteFuture()
                               ? -1
                               : static_cast<int>(absl::ToInt64Milliseconds(
                                     std::max(wake - now, absl::ZeroDuration()))) +
                                     1;
    if (poll(watched.data(), watched.size(), timeout_ms) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) break;
    const absl::Time then = clock_->Now();
    for (size_t i = 0; i < open_.size(); ++i) {
      if (watched[2 + 2 * i].revents != 0 || watched[3 + 2 * i].revents != 0) open_[i]->Serve(then);
    }
    if (watched[1].revents != 0) Accept(then);
    std::erase_if(open_, [](const auto& connection) { return connection->ended(); });
  }
  open_.clear();
}

}  // namespace tributary::test
