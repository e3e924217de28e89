// What every ModelStore promises, checked over every entry of the registry.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/store_registry.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::IsOkAndHolds;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsNan;
using ::testing::SizeIs;

const JobId kJob("mnist");
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

class StoreConformance : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    config::Choice choice{.name = GetParam()};
    // Every option that an entry requires.
    if (choice.name == "sqlite") choice.options = {{"path", dir_.File("store")}};
    auto store = StoreRegistry().Create(choice);
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }

  static JobRecord Job(const std::string& id, int64_t second = 0) {
    JobRecord job;
    job.id = JobId(id);
    job.spec_json = R"({"name":"x"})";
    job.state = "running";
    job.submitted_at = kStart + absl::Seconds(second);
    return job;
  }

  absl::StatusOr<VersionRecord> Publish(const ParamVector& model, Version version,
                                        const JobId& job = kJob, std::string delta = "") {
    Publication publication;
    publication.job = job;
    publication.delta = std::move(delta);
    publication.version = version;
    publication.model = &model;
    publication.updates = 3;
    publication.stats_json = absl::StrCat(R"({"v":)", version, "}");
    publication.at = kStart + absl::Minutes(version);
    return store_->Publish(publication);
  }

  // Versions of 100 values, 400 bytes, each with a delta of so many bytes; 0: none. The first
  // never has one.
  void PublishDeltas(const std::vector<size_t>& sizes) {
    ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
    for (size_t v = 0; v < sizes.size(); ++v) {
      std::string delta(sizes[v], static_cast<char>('0' + v));
      ASSERT_THAT(Publish(RandomParams(FlatLayout(100), v), static_cast<Version>(v), kJob,
                          std::move(delta)),
                  IsOk());
    }
  }
  // The bytes of the deltas from one version to another, or why there are none.
  absl::StatusOr<std::string> Deltas(Version from, Version to) const {
    auto reader = store_->OpenDeltas(kJob, from, to);
    if (!reader.ok()) return reader.status();
    std::string bytes;
    const absl::Status read = (*reader)->Read(0, (*reader)->size_bytes(), bytes);
    if (!read.ok()) return read;
    return bytes;
  }

  test::TempDir dir_;
  std::unique_ptr<ModelStore> store_;
};

INSTANTIATE_TEST_SUITE_P(AllStores, StoreConformance, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& e : StoreRegistry().entries()) names.push_back(e.name);
                           return names;
                         }()),
                         [](const auto& entry) { return entry.param; });

TEST_P(StoreConformance, JobComesBackAsItWasPut) {
  JobRecord job = Job("mnist");
  job.request_id = "r-1";
  job.reason = "because\nof 'this' \"and\" that: ümläut";
  job.ended_at = kStart + absl::Nanoseconds(123456789);
  ASSERT_THAT(store_->PutJob(job), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const JobRecord found, store_->GetJob(kJob));
  EXPECT_EQ(found.id, job.id);
  EXPECT_EQ(found.request_id, job.request_id);
  EXPECT_EQ(found.spec_json, job.spec_json);
  EXPECT_EQ(found.state, job.state);
  EXPECT_EQ(found.reason, job.reason);
  EXPECT_EQ(found.submitted_at, job.submitted_at);
  EXPECT_EQ(found.ended_at, job.ended_at);
}

TEST_P(StoreConformance, PutJobReplacesAndKeepsVersions) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(3), 1), 0), IsOk());
  JobRecord job = Job("mnist");
  job.state = "done";
  ASSERT_THAT(store_->PutJob(job), IsOk());
  EXPECT_THAT(store_->GetJob(kJob), IsOkAndHolds(Field(&JobRecord::state, "done")));
  EXPECT_THAT(store_->GetJob(kJob), IsOkAndHolds(Field(&JobRecord::ended_at, std::nullopt)));
  EXPECT_THAT(store_->ListJobs(), IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(store_->ListVersions(kJob), IsOkAndHolds(SizeIs(1)));
}

TEST_P(StoreConformance, ListsJobsOldestFirst) {
  EXPECT_THAT(store_->ListJobs(), IsOkAndHolds(IsEmpty()));
  ASSERT_THAT(store_->PutJob(Job("a", 2)), IsOk());
  ASSERT_THAT(store_->PutJob(Job("b", 1)), IsOk());
  ASSERT_THAT(store_->PutJob(Job("c", 3)), IsOk());
  EXPECT_THAT(store_->ListJobs(), IsOkAndHolds(ElementsAre(Field(&JobRecord::id, JobId("b")),
                                                           Field(&JobRecord::id, JobId("a")),
                                                           Field(&JobRecord::id, JobId("c")))));
}

TEST_P(StoreConformance, RequestIdIsUniqueUnlessEmpty) {
  JobRecord first = Job("first");
  first.request_id = "r-1";
  JobRecord second = Job("second");
  second.request_id = "r-1";
  ASSERT_THAT(store_->PutJob(first), IsOk());
  EXPECT_THAT(store_->PutJob(second), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("r-1")));
  EXPECT_THAT(store_->GetJob(second.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->PutJob(first), IsOk());
  EXPECT_THAT(store_->PutJob(Job("third")), IsOk());
  EXPECT_THAT(store_->PutJob(Job("fourth")), IsOk());
}

TEST_P(StoreConformance, RefusesIdsThatAreNot) {
  EXPECT_THAT(store_->PutJob(Job("../etc")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("../etc")));
  EXPECT_THAT(store_->PutClient(ClientRecord{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("client id ''")));
}

TEST_P(StoreConformance, PublishedVersionIsListedGotAndLoaded) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(1000, 7), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const VersionRecord published, Publish(model, 0));
  EXPECT_EQ(published.version, 0);
  EXPECT_EQ(published.model_digest, model.ComputeDigest());
  EXPECT_EQ(published.layout_digest, model.layout()->digest());
  EXPECT_EQ(published.published_at, kStart);
  EXPECT_EQ(published.updates, 3);
  EXPECT_EQ(published.stats_json, R"({"v":0})");
  EXPECT_EQ(published.evaluation, std::nullopt);
  EXPECT_TRUE(published.kept);

  const auto same = AllOf(Field(&VersionRecord::version, 0),
                          Field(&VersionRecord::model_digest, published.model_digest),
                          Field(&VersionRecord::layout_digest, published.layout_digest),
                          Field(&VersionRecord::published_at, published.published_at),
                          Field(&VersionRecord::updates, published.updates),
                          Field(&VersionRecord::stats_json, published.stats_json),
                          Field(&VersionRecord::kept, true));
  EXPECT_THAT(store_->GetVersion(kJob, 0), IsOkAndHolds(same));
  EXPECT_THAT(store_->ListVersions(kJob), IsOkAndHolds(ElementsAre(same)));

  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector loaded, store_->LoadModel(kJob, 0));
  EXPECT_EQ(loaded.layout()->digest(), model.layout()->digest());
  EXPECT_THAT(loaded, ParamsNear(model, 0));
}

// More values than any block holds, and not a multiple of one.
TEST_P(StoreConformance, ReadsAModelBlockByBlockInOrder) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(600'001, 3), 1);
  ASSERT_THAT(Publish(model, 0), IsOk());
  std::vector<float> read;
  ASSERT_THAT(store_->ReadModel(kJob, 0,
                                [&](size_t first, absl::Span<const float> values) {
                                  EXPECT_EQ(first, read.size());
                                  read.insert(read.end(), values.begin(), values.end());
                                }),
              IsOk());
  ASSERT_EQ(read.size(), model.values().size());
  EXPECT_TRUE(std::equal(read.begin(), read.end(), model.values().begin()));
}

TEST_P(StoreConformance, KeepsTheBitsOfEveryFloat) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const float inf = std::numeric_limits<float>::infinity();
  const ParamVector model = test::MakeParams(
      FlatLayout(5), {-0.0F, std::numeric_limits<float>::denorm_min(), inf, -inf, std::nanf("7")});
  ASSERT_THAT(Publish(model, 0), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector loaded, store_->LoadModel(kJob, 0));
  EXPECT_EQ(loaded.ComputeDigest(), model.ComputeDigest());
}

TEST_P(StoreConformance, ListsManyVersionsInOrder) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  EXPECT_THAT(store_->ListVersions(kJob), IsOkAndHolds(IsEmpty()));
  for (Version v = 0; v < 12; ++v) {
    ASSERT_THAT(Publish(RandomParams(FlatLayout(4), static_cast<uint64_t>(v)), v), IsOk());
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<VersionRecord> records, store_->ListVersions(kJob));
  ASSERT_THAT(records, SizeIs(12));
  for (Version v = 0; v < 12; ++v) {
    const VersionRecord& record = records[static_cast<size_t>(v)];
    EXPECT_EQ(record.version, v);
    const ParamVector expected = RandomParams(FlatLayout(4), static_cast<uint64_t>(v));
    EXPECT_EQ(record.model_digest, expected.ComputeDigest());
  }
}

TEST_P(StoreConformance, PublishWantsTheNextVersion) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(3), 1);
  EXPECT_THAT(Publish(model, 1), StatusIs(absl::StatusCode::kFailedPrecondition,
                                          HasSubstr("version 1, the next one is 0")));
  ASSERT_THAT(Publish(model, 0), IsOk());
  for (const Version wrong : {-1, 0, 2}) {
    EXPECT_THAT(Publish(model, wrong),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the next one is 1")));
  }
  EXPECT_THAT(Publish(model, 1), IsOk());
  EXPECT_THAT(store_->ListVersions(kJob), IsOkAndHolds(SizeIs(2)));
}

TEST_P(StoreConformance, ReaderGivesEveryRange) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(10), 1);
  ASSERT_THAT(Publish(model, 0), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<ModelReader> reader, store_->OpenModel(kJob, 0));
  EXPECT_EQ(reader->size_bytes(), 40U);
  EXPECT_EQ(reader->record().model_digest, model.ComputeDigest());
  EXPECT_EQ(reader->layout()->digest(), model.layout()->digest());

  const std::string bytes(reinterpret_cast<const char*>(model.values().data()), 40);
  for (uint64_t offset = 0; offset <= 40; ++offset) {
    for (uint64_t length = 0; offset + length <= 40; ++length) {
      std::string out = "left over";
      ASSERT_THAT(reader->Read(offset, length, out), IsOk());
      ASSERT_EQ(out, bytes.substr(offset, length)) << offset << " " << length;
    }
  }
  std::string out;
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 41}, {40, 1}, {41, 0}, {1, kMax}, {kMax, 1}, {kMax, kMax}}) {
    EXPECT_THAT(reader->Read(offset, length, out),
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("40 bytes")));
  }
}

TEST_P(StoreConformance, StateMakesARoundTrip) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(20), 1);
  const ParamVector first_moment = RandomParams(FlatLayout(20), 2);
  const ParamVector basis = RandomParams(FlatLayout(6, 2), 3);
  const ParamVector not_yet;
  Publication publication;
  publication.job = kJob;
  publication.model = &model;
  publication.state_vectors = {{"adam/m", &first_moment}, {"basis", &basis}, {"not_yet", &not_yet}};
  publication.state_scalars = {{"step", 7},
                               {"rate", 0.1},
                               {"tiny", std::numeric_limits<double>::denorm_min()},
                               {"huge", std::numeric_limits<double>::max()},
                               {"inf", -std::numeric_limits<double>::infinity()},
                               {"nan", std::nan("")}};
  ASSERT_THAT(store_->Publish(publication), IsOk());

  ParamVector m(FlatLayout(20));                   // values replaced
  ParamVector b;                                   // layout and values come from the store
  ParamVector n = RandomParams(FlatLayout(2), 4);  // emptied
  double step = 0, rate = 0, tiny = 0, huge = 0, inf = 0, nan = 0;
  ASSERT_THAT(store_->LoadState(kJob, 0, {{"adam/m", &m}, {"basis", &b}, {"not_yet", &n}},
                                {{"step", &step},
                                 {"rate", &rate},
                                 {"tiny", &tiny},
                                 {"huge", &huge},
                                 {"inf", &inf},
                                 {"nan", &nan}}),
              IsOk());
  EXPECT_THAT(m, ParamsNear(first_moment, 0));
  EXPECT_THAT(b, ParamsNear(basis, 0));
  ASSERT_FALSE(b.empty());
  EXPECT_EQ(b.layout()->digest(), basis.layout()->digest());
  EXPECT_TRUE(n.empty());
  EXPECT_EQ(step, 7);
  EXPECT_EQ(rate, 0.1);
  EXPECT_EQ(tiny, std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(huge, std::numeric_limits<double>::max());
  EXPECT_EQ(inf, -std::numeric_limits<double>::infinity());
  EXPECT_THAT(nan, IsNan());
}

TEST_P(StoreConformance, MissingOrOtherStateIsDataLoss) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(4), 1);
  Publication publication;
  publication.job = kJob;
  publication.model = &model;
  publication.state_vectors = {{"m", &model}};
  publication.state_scalars = {{"s", 1}};
  ASSERT_THAT(store_->Publish(publication), IsOk());
  ParamVector vector(FlatLayout(4));
  double scalar = 0;
  EXPECT_THAT(store_->LoadState(kJob, 0, {{"v", &vector}}, {}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'v'")));
  EXPECT_THAT(store_->LoadState(kJob, 0, {}, {{"t", &scalar}}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'t'")));
  ParamVector other(FlatLayout(5));
  EXPECT_THAT(store_->LoadState(kJob, 0, {{"m", &other}}, {}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("layout")));
  EXPECT_THAT(store_->LoadState(kJob, 0, {{"m", &vector}}, {{"s", &scalar}}), IsOk());
  EXPECT_THAT(store_->LoadState(kJob, 0, {}, {}), IsOk());
}

TEST_P(StoreConformance, PruneKeepsRecordsTheNewestValuesAndTheNewestState) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  double scalar = 0;
  for (Version v = 0; v < 5; ++v) {
    const ParamVector model = RandomParams(FlatLayout(6), static_cast<uint64_t>(v));
    const ParamVector moment = RandomParams(FlatLayout(6), static_cast<uint64_t>(100 + v));
    Publication publication;
    publication.job = kJob;
    publication.version = v;
    publication.model = &model;
    publication.state_vectors = {{"m", &moment}};
    publication.state_scalars = {{"s", static_cast<double>(v)}};
    ASSERT_THAT(store_->Publish(publication), IsOk());
  }
  ASSERT_THAT(store_->PutEvaluation(kJob, {.version = 0, .loss = 1, .num_examples = 2}), IsOk());
  ASSERT_THAT(store_->Prune(kJob, 2), IsOk());

  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<VersionRecord> records, store_->ListVersions(kJob));
  ASSERT_THAT(records, SizeIs(5));
  EXPECT_TRUE(records[0].evaluation.has_value());
  for (Version v = 0; v < 5; ++v) {
    EXPECT_EQ(records[static_cast<size_t>(v)].kept, v >= 3) << v;
    const ParamVector expected = RandomParams(FlatLayout(6), static_cast<uint64_t>(v));
    EXPECT_EQ(records[static_cast<size_t>(v)].model_digest, expected.ComputeDigest());
    if (v >= 3) {
      EXPECT_THAT(store_->LoadModel(kJob, v), IsOkAndHolds(ParamsNear(expected, 0)));
    } else {
      EXPECT_THAT(store_->LoadModel(kJob, v),
                  StatusIs(absl::StatusCode::kNotFound, HasSubstr("no longer kept")));
      EXPECT_THAT(store_->OpenModel(kJob, v), StatusIs(absl::StatusCode::kNotFound));
    }
    if (v < 4) {
      EXPECT_THAT(store_->LoadState(kJob, v, {}, {{"s", &scalar}}),
                  StatusIs(absl::StatusCode::kNotFound, HasSubstr("no longer kept")));
    }
  }
  ParamVector moment;
  ASSERT_THAT(store_->LoadState(kJob, 4, {{"m", &moment}}, {{"s", &scalar}}), IsOk());
  EXPECT_THAT(moment, ParamsNear(RandomParams(FlatLayout(6), 104), 0));
  EXPECT_EQ(scalar, 4);

  EXPECT_THAT(store_->Prune(kJob, 2), IsOk());
  EXPECT_THAT(store_->Prune(kJob, std::numeric_limits<int64_t>::max()), IsOk());
  EXPECT_THAT(store_->LoadModel(kJob, 3), IsOk());
  EXPECT_THAT(Publish(RandomParams(FlatLayout(6), 9), 5), IsOk());
}

TEST_P(StoreConformance, PruneRefusesToKeepNothing) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  EXPECT_THAT(store_->Prune(kJob, 1), IsOk());  // nothing published yet
  for (const int64_t keep : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_THAT(store_->Prune(kJob, keep),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least 1")));
  }
}

TEST_P(StoreConformance, EqualModelsSurviveThePruningOfEachOther) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(store_->PutJob(Job("other")), IsOk());
  const ParamVector shared = RandomParams(FlatLayout(6), 1);
  const ParamVector changed = RandomParams(FlatLayout(6), 2);
  ASSERT_THAT(Publish(shared, 0), IsOk());
  ASSERT_THAT(Publish(changed, 1), IsOk());
  ASSERT_THAT(Publish(shared, 2), IsOk());
  ASSERT_THAT(Publish(changed, 0, JobId("other")), IsOk());
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  EXPECT_THAT(store_->LoadModel(kJob, 2), IsOkAndHolds(ParamsNear(shared, 0)));
  EXPECT_THAT(store_->LoadModel(JobId("other"), 0), IsOkAndHolds(ParamsNear(changed, 0)));
}

TEST_P(StoreConformance, OpenReaderOutlivesPruning) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  const ParamVector model = RandomParams(FlatLayout(4), 1);
  ASSERT_THAT(Publish(model, 0), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(4), 2), 1), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<ModelReader> reader, store_->OpenModel(kJob, 0));
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  std::string out;
  ASSERT_THAT(reader->Read(0, 16, out), IsOk());
  EXPECT_EQ(out, std::string(reinterpret_cast<const char*>(model.values().data()), 16));
}

TEST_P(StoreConformance, DeltasFollowEachOther) {
  ASSERT_NO_FATAL_FAILURE(PublishDeltas({0, 3, 1, 5}));
  EXPECT_THAT(Deltas(0, 1), IsOkAndHolds("111"));
  EXPECT_THAT(Deltas(2, 3), IsOkAndHolds("33333"));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto reader, store_->OpenDeltas(kJob, 0, 3));
  EXPECT_EQ(reader->record().version, 3);
  EXPECT_EQ(reader->layout()->digest(), FlatLayout(100)->digest());
  ASSERT_THAT(reader->deltas(), SizeIs(3));
  EXPECT_EQ(reader->deltas()[2].version, 3);
  EXPECT_EQ(reader->deltas()[2].bytes, 5U);
  const std::string all = "111233333";
  ASSERT_EQ(reader->size_bytes(), all.size());
  std::string out;
  for (size_t begin = 0; begin <= all.size(); ++begin) {
    for (size_t end = begin; end <= all.size(); ++end) {
      ASSERT_THAT(reader->Read(begin, end - begin, out), IsOk());
      EXPECT_EQ(out, all.substr(begin, end - begin));
    }
  }
  EXPECT_THAT(reader->Read(9, 1, out), StatusIs(absl::StatusCode::kOutOfRange));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto values, store_->OpenModel(kJob, 3));
  EXPECT_THAT(values->deltas(), IsEmpty());
}

TEST_P(StoreConformance, MissingDeltasAreNotFound) {
  ASSERT_NO_FATAL_FAILURE(PublishDeltas({0, 3, 0, 5}));
  EXPECT_THAT(Deltas(1, 3), StatusIs(absl::StatusCode::kNotFound, HasSubstr("version 2")));
  EXPECT_THAT(Deltas(2, 3), IsOkAndHolds("33333"));
  EXPECT_THAT(Deltas(3, 4), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Deltas(-1, 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->OpenDeltas(JobId("other"), 0, 1), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(StoreConformance, PruneKeepsTheDeltasThatAreFewerBytesThanTheModel) {
  ASSERT_NO_FATAL_FAILURE(PublishDeltas({0, 1, 200, 100, 100, 99}));
  ASSERT_THAT(store_->Prune(kJob, 6), IsOk());
  EXPECT_THAT(Deltas(2, 5), IsOkAndHolds(SizeIs(299)));
  EXPECT_THAT(Deltas(1, 5), StatusIs(absl::StatusCode::kNotFound)) << "499 of 400";
  EXPECT_THAT(Deltas(0, 1), StatusIs(absl::StatusCode::kNotFound)) << "leads on to nothing";
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  EXPECT_THAT(Deltas(2, 5), IsOkAndHolds(SizeIs(299))) << "though their values are gone";
  EXPECT_THAT(Deltas(2, 4), StatusIs(absl::StatusCode::kNotFound)) << "4 is gone";
}

TEST_P(StoreConformance, PruneKeepsNoMoreDeltasThanAllowed) {
  std::vector<size_t> sizes(kMaxDeltas + 2, 1);
  ASSERT_NO_FATAL_FAILURE(PublishDeltas(sizes));
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  EXPECT_THAT(Deltas(1, kMaxDeltas + 1), IsOkAndHolds(SizeIs(kMaxDeltas)));
  EXPECT_THAT(Deltas(0, kMaxDeltas + 1), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(StoreConformance, PruneForgetsWhatLeadsNowhere) {
  ASSERT_NO_FATAL_FAILURE(PublishDeltas({0, 1, 1, 0, 1, 1}));
  ASSERT_THAT(store_->Prune(kJob, 6), IsOk());
  EXPECT_THAT(Deltas(3, 5), IsOkAndHolds("45"));
  EXPECT_THAT(Deltas(0, 2), StatusIs(absl::StatusCode::kNotFound)) << "there is no delta to 3";
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 6), 6), IsOk());
  ASSERT_THAT(store_->Prune(kJob, 7), IsOk());
  EXPECT_THAT(Deltas(3, 5), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(StoreConformance, EqualDeltasSurviveThePruningOfEachOther) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(store_->PutJob(Job("other")), IsOk());
  for (const JobId& job : {kJob, JobId("other")}) {
    for (Version v = 0; v < 3; ++v) {
      ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 1), v, job, v == 1 ? "same" : ""), IsOk());
    }
  }
  ASSERT_THAT(store_->Prune(JobId("other"), 3), IsOk());
  EXPECT_THAT(Deltas(0, 1), IsOkAndHolds("same"));
}

TEST_P(StoreConformance, OpenDeltasOutlivePruning) {
  ASSERT_NO_FATAL_FAILURE(PublishDeltas({0, 4, 0}));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto reader, store_->OpenDeltas(kJob, 0, 1));
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  EXPECT_THAT(store_->OpenDeltas(kJob, 0, 1), StatusIs(absl::StatusCode::kNotFound));
  std::string out;
  ASSERT_THAT(reader->Read(1, 3, out), IsOk());
  EXPECT_EQ(out, "111");
}

TEST_P(StoreConformance, EvaluationIsAttachedAndReplaced) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(4), 1), 0), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(4), 2), 1), IsOk());
  EvaluationRecord evaluation{.version = 1, .loss = std::nan(""), .accuracy = 0.25};
  evaluation.num_examples = 10;
  ASSERT_THAT(store_->PutEvaluation(kJob, evaluation), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(VersionRecord record, store_->GetVersion(kJob, 1));
  ASSERT_TRUE(record.evaluation.has_value());
  EXPECT_EQ(record.evaluation->version, 1);
  EXPECT_THAT(record.evaluation->loss, IsNan());
  EXPECT_EQ(record.evaluation->accuracy, 0.25);
  EXPECT_EQ(record.evaluation->num_examples, 10);

  evaluation.loss = 0.5;
  ASSERT_THAT(store_->PutEvaluation(kJob, evaluation), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<VersionRecord> records, store_->ListVersions(kJob));
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].evaluation, std::nullopt);
  ASSERT_TRUE(records[1].evaluation.has_value());
  EXPECT_EQ(records[1].evaluation->loss, 0.5);
}

TEST_P(StoreConformance, JournalKeepsItsOrderPerJob) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(store_->PutJob(Job("other")), IsOk());
  EXPECT_THAT(store_->ReadJournal(kJob), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->AppendJournal(kJob, {R"({"n":2})", R"({"n":1})"}), IsOk());
  EXPECT_THAT(store_->AppendJournal(JobId("other"), {"elsewhere"}), IsOk());
  EXPECT_THAT(store_->AppendJournal(kJob, {}), IsOk());
  EXPECT_THAT(store_->AppendJournal(kJob, {"", R"({"n":1})"}), IsOk());
  EXPECT_THAT(store_->ReadJournal(kJob),
              IsOkAndHolds(ElementsAre(R"({"n":2})", R"({"n":1})", "", R"({"n":1})")));
  EXPECT_THAT(store_->ReadJournal(JobId("other")), IsOkAndHolds(ElementsAre("elsewhere")));
}

TEST_P(StoreConformance, ClientsAreReplacedAndListedById) {
  EXPECT_THAT(store_->ListClients(), IsOkAndHolds(IsEmpty()));
  ClientRecord client;
  client.id = ClientId("c2");
  client.user_agent = "app/1.0";
  client.evaluate_only = true;
  client.enrolled_at = kStart;
  client.last_seen_at = kStart + absl::Hours(1);
  client.updates = 5;
  client.lost = 2;
  client.uplink_bytes = std::numeric_limits<uint64_t>::max();
  ASSERT_THAT(store_->PutClient(client), IsOk());
  ClientRecord first = client;
  first.id = ClientId("c1");
  first.evaluate_only = false;
  ASSERT_THAT(store_->PutClient(first), IsOk());
  client.updates = 6;
  ASSERT_THAT(store_->PutClient(client), IsOk());

  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<ClientRecord> clients, store_->ListClients());
  ASSERT_THAT(clients, SizeIs(2));
  EXPECT_EQ(clients[0].id, ClientId("c1"));
  EXPECT_FALSE(clients[0].evaluate_only);
  EXPECT_EQ(clients[1].id, ClientId("c2"));
  EXPECT_EQ(clients[1].user_agent, "app/1.0");
  EXPECT_TRUE(clients[1].evaluate_only);
  EXPECT_EQ(clients[1].enrolled_at, client.enrolled_at);
  EXPECT_EQ(clients[1].last_seen_at, client.last_seen_at);
  EXPECT_EQ(clients[1].updates, 6);
  EXPECT_EQ(clients[1].lost, 2);
  EXPECT_EQ(clients[1].uplink_bytes, std::numeric_limits<uint64_t>::max());
}

TEST_P(StoreConformance, UnknownJobIsNotFoundEverywhere) {
  const auto not_found = StatusIs(absl::StatusCode::kNotFound, HasSubstr("no job 'mnist'"));
  EXPECT_THAT(store_->GetJob(kJob), not_found);
  EXPECT_THAT(Publish(RandomParams(FlatLayout(3), 1), 0), not_found);
  EXPECT_THAT(store_->GetVersion(kJob, 0), not_found);
  EXPECT_THAT(store_->ListVersions(kJob), not_found);
  EXPECT_THAT(store_->PutEvaluation(kJob, {.version = 0}), not_found);
  EXPECT_THAT(store_->OpenModel(kJob, 0), not_found);
  EXPECT_THAT(store_->LoadModel(kJob, 0), not_found);
  EXPECT_THAT(store_->ReadModel(kJob, 0, [](size_t, absl::Span<const float>) {}), not_found);
  EXPECT_THAT(store_->LoadState(kJob, 0, {}, {}), not_found);
  EXPECT_THAT(store_->Prune(kJob, 1), not_found);
  EXPECT_THAT(store_->AppendJournal(kJob, {"x"}), not_found);
  EXPECT_THAT(store_->ReadJournal(kJob), not_found);
}

TEST_P(StoreConformance, UnknownVersionIsNotFoundEverywhere) {
  ASSERT_THAT(store_->PutJob(Job("mnist")), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(3), 1), 0), IsOk());
  for (const Version version : {Version{-1}, Version{1}, std::numeric_limits<Version>::max()}) {
    const auto not_found = StatusIs(absl::StatusCode::kNotFound,
                                    HasSubstr(absl::StrCat("no version ", version, " of job")));
    EXPECT_THAT(store_->GetVersion(kJob, version), not_found);
    EXPECT_THAT(store_->PutEvaluation(kJob, {.version = version}), not_found);
    EXPECT_THAT(store_->OpenModel(kJob, version), not_found);
    EXPECT_THAT(store_->LoadModel(kJob, version), not_found);
    EXPECT_THAT(store_->ReadModel(kJob, version, [](size_t, absl::Span<const float>) {}),
                not_found);
    EXPECT_THAT(store_->LoadState(kJob, version, {}, {}), not_found);
  }
}

// Writers of several jobs, all with the same models so that they share files, pruning as they
// go; readers of whatever is newest. Every value read must be whole.
TEST_P(StoreConformance, ManyThreadsSeeWholeVersions) {
  constexpr int kJobs = 3;
  constexpr Version kVersions = 15;
  const LayoutPtr layout = FlatLayout(512);
  for (int j = 0; j < kJobs; ++j) ASSERT_THAT(store_->PutJob(Job(absl::StrCat("j", j))), IsOk());

  std::vector<std::thread> threads;
  for (int j = 0; j < kJobs; ++j) {
    const JobId job(absl::StrCat("j", j));
    threads.emplace_back([&, job] {
      for (Version v = 0; v < kVersions; ++v) {
        EXPECT_THAT(Publish(RandomParams(layout, static_cast<uint64_t>(v)), v, job), IsOk());
        EXPECT_THAT(store_->AppendJournal(job, {absl::StrCat(v)}), IsOk());
        EXPECT_THAT(store_->Prune(job, 1 + v % 3), IsOk());
      }
    });
    threads.emplace_back([&, job] {
      for (size_t seen = 0; seen < kVersions;) {
        const absl::StatusOr<std::vector<VersionRecord>> versions = store_->ListVersions(job);
        ASSERT_THAT(versions, IsOk());
        ASSERT_GE(versions->size(), seen);
        seen = versions->size();
        if (seen == 0) continue;
        const absl::StatusOr<ParamVector> model =
            store_->LoadModel(job, static_cast<Version>(seen) - 1);
        if (absl::IsNotFound(model.status())) continue;  // pruned since it was listed
        ASSERT_THAT(model, IsOk());
        ASSERT_EQ(model->ComputeDigest(), versions->back().model_digest);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (int j = 0; j < kJobs; ++j) {
    const JobId job(absl::StrCat("j", j));
    EXPECT_THAT(store_->LoadModel(job, kVersions - 1),
                IsOkAndHolds(ParamsNear(RandomParams(layout, kVersions - 1), 0)));
    TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> journal, store_->ReadJournal(job));
    ASSERT_THAT(journal, SizeIs(kVersions));
    for (Version v = 0; v < kVersions; ++v) {
      EXPECT_EQ(journal[static_cast<size_t>(v)], absl::StrCat(v));
    }
  }
}

TEST(StoreRegistryTest, RefusesUnknownNamesAndOptions) {
  EXPECT_THAT(StoreRegistry().Create({.name = "sqlit"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("sqlite")));
  EXPECT_THAT(StoreRegistry().Create({.name = "sqlite"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("path")));
  EXPECT_THAT(StoreRegistry().Create({.name = "sqlite", .options = {{"path", ""}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("path")));
  EXPECT_THAT(StoreRegistry().Create({.name = "memory", .options = {{"path", "x"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("path")));
}

}  // namespace
}  // namespace tributary
