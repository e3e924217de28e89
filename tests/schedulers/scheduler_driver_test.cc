// The driver of the conformance suite finds each fault that it looks for: a good scheduler's
// decisions are spoilt in one way at a time.
#include "tests/testing/scheduler_driver.h"

#include <algorithm>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "schedulers/sync_round.h"

namespace tributary::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Spoil = std::function<void(const SchedulerEvent&, Decision&)>;

class Spoilt final : public Scheduler {
 public:
  explicit Spoilt(Spoil spoil) : spoil_(std::move(spoil)) {
    SyncRoundOptions options;
    options.clients_per_round = 5;
    good_ = SyncRoundScheduler::Create(options, {.rng = Rng(1)}).value();
  }
  Decision Handle(const SchedulerEvent& event) override {
    Decision decision = good_->Handle(event);
    spoil_(event, decision);
    return decision;
  }
  nlohmann::json Save() const override { return good_->Save(); }
  absl::Status Load(const nlohmann::json& state) override { return good_->Load(state); }
  nlohmann::json Stats() const override { return good_->Stats(); }

 private:
  const Spoil spoil_;
  std::unique_ptr<SyncRoundScheduler> good_;
};

std::vector<std::string> Violations(Spoil spoil) {
  Spoilt scheduler(std::move(spoil));
  SchedulerDriver driver({.clients = 20, .departure = 0.5}, scheduler);
  driver.Run(300);
  return driver.violations();
}

TEST(SchedulerDriverTest, FindsNothingInAGoodScheduler) {
  EXPECT_THAT(Violations([](const SchedulerEvent&, Decision&) {}), IsEmpty());
}

TEST(SchedulerDriverTest, FindsSpoiltDispatches) {
  const auto dispatch = [](const std::function<void(Dispatch&)>& change) {
    return Violations([change](const SchedulerEvent&, Decision& d) {
      for (Dispatch& each : d.dispatch) change(each);
    });
  };
  EXPECT_THAT(dispatch([](Dispatch& d) { d.client = ClientId("x"); }),
              Contains(HasSubstr("that nobody knows")));
  EXPECT_THAT(dispatch([](Dispatch& d) { d.client = ClientId("c001"); }),
              Contains(HasSubstr("that has an order")));
  EXPECT_THAT(dispatch([](Dispatch& d) { d.group = std::min<GroupId>(d.group, 1); }),
              Contains(HasSubstr("into a closed group")));
  EXPECT_THAT(dispatch([](Dispatch& d) { d.local_steps = 0; }), Contains(HasSubstr("steps")));
  EXPECT_THAT(dispatch([](Dispatch& d) { d.deadline = absl::InfinitePast(); }),
              Contains(HasSubstr("deadline in the past")));
  EXPECT_THAT(dispatch([](Dispatch& d) { d.expected_at = absl::InfinitePast(); }),
              Contains(HasSubstr("expects an update in the past")));
  EXPECT_THAT(Violations([](const SchedulerEvent& event, Decision& d) {
                if (const auto* out = std::get_if<CheckOut>(&event.what)) {
                  d.dispatch.push_back({.client = out->client, .group = 999, .local_steps = {}});
                }
              }),
              Contains(HasSubstr("has checked out")));
}

TEST(SchedulerDriverTest, FindsSpoiltCloses) {
  const auto close = [](const std::function<void(Close&)>& change) {
    return Violations([change](const SchedulerEvent&, Decision& d) {
      for (Close& each : d.close) change(each);
    });
  };
  EXPECT_THAT(close([](Close& c) { c.updates.clear(); }), Contains(HasSubstr("without updates")));
  EXPECT_THAT(close([](Close& c) { c.group = 1; }), Contains(HasSubstr("group twice")));
  EXPECT_THAT(close([](Close& c) { std::reverse(c.updates.begin(), c.updates.end()); }),
              Contains(HasSubstr("not ascending")));
  EXPECT_THAT(close([](Close& c) { c.updates.push_back(100000); }),
              Contains(HasSubstr("never accepted")));
  EXPECT_THAT(close([](Close& c) { c.coefficients.assign(c.updates.size(), 1.0); }),
              Contains(HasSubstr("against its word")));
  EXPECT_THAT(close([](Close& c) { c.coefficients.assign(c.updates.size() + 1, 1.0); }),
              Contains(HasSubstr("one coefficient for each update")));
  EXPECT_THAT(close([](Close& c) { c.coefficients.assign(c.updates.size(), -1.0); }),
              Contains(HasSubstr("bad coefficient")));
  EXPECT_THAT(Violations([](const SchedulerEvent&, Decision& d) {
                for (const Close& c : d.close) d.drop.push_back(c.updates[0]);
              }),
              Contains(HasSubstr("closed or dropped before")));
}

TEST(SchedulerDriverTest, FindsSpoiltTimers) {
  EXPECT_THAT(Violations([](const SchedulerEvent& e, Decision& d) {
                if (d.wake_at) d.wake_at = e.at - absl::Seconds(1);
              }),
              Contains(HasSubstr("wakes in the past")));
  EXPECT_THAT(Violations([](const SchedulerEvent& e, Decision& d) { d.wake_at = e.at; }),
              Contains(HasSubstr("wakes for ever")));
}

}  // namespace
}  // namespace tributary::test
