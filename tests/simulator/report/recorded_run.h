// Run folders with known content, as a simulated run would leave them.
#ifndef TRIBUTARY_TESTS_SIMULATOR_REPORT_RECORDED_RUN_H_
#define TRIBUTARY_TESTS_SIMULATOR_REPORT_RECORDED_RUN_H_

#include <string>

#include "tests/testing/temp_dir.h"

namespace tributary::test {

struct RecordedRun {
  std::string name = "six-clients";
  int seed = 1;
  double slowness = 1;   // of every client
  bool predicts = true;  // the scheduler says when it expects an update
  bool fleet = true;     // with a fleet.json
  int versions = 12;
  double rate_growth = 0;  // of client_rate, a version
  int tasks = 0;           // learnt one after another; of each, a tenth is lost at each later one
};

// Six clients with 1, 2, …, 6 tenths of a second a step get 10 local steps again and again, in
// groups of two. Client c5 loses each third order; c4 is late each second time; c3 leaves half-way.
// The accuracy grows by 0.05 a version from 0.2; targets are 0.5, and 0.9, which is not reached.
// Writes them under `name` in `dir` and returns the folder.
std::string WriteRecordedRun(const TempDir& dir, const std::string& folder,
                             const RecordedRun& run = {});

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SIMULATOR_REPORT_RECORDED_RUN_H_
