// FileSizeLimit: a disk that is full, for files that would grow beyond a size.
#ifndef TRIBUTARY_TESTS_SERVER_STORE_FILE_SIZE_LIMIT_H_
#define TRIBUTARY_TESTS_SERVER_STORE_FILE_SIZE_LIMIT_H_

#include <sys/resource.h>

#include <csignal>

namespace tributary::test {

// While it lives, this process's writes beyond `bytes` of any file fail with EFBIG.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*const handler_)(int);
  rlimit before_{};
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SERVER_STORE_FILE_SIZE_LIMIT_H_
