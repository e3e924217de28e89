#include "simulator/report/page.h"

namespace tributary::report {

absl::StatusOr<std::string> PageTemplate() {
  return absl::FailedPreconditionError(
      "this build has no pages; configure it with -DTRIBUTARY_WITH_PAGES=ON");
}

}  // namespace tributary::report
