// MockConnection: a Connection for GoogleMock, to test an application against a server that
// answers as the test says.
//
//   auto connection = std::make_unique<NiceMock<MockConnection>>();
//   EXPECT_CALL(*connection, CheckIn).WillOnce(Return(MyWorkOrder()));
#ifndef TRIBUTARY_CLIENT_SDK_MOCKS_MOCK_CONNECTION_H_
#define TRIBUTARY_CLIENT_SDK_MOCKS_MOCK_CONNECTION_H_

#include "client_sdk/connection.h"
#include "gmock/gmock.h"

namespace tributary::sdk {

class MockConnection : public Connection {
 public:
  MOCK_METHOD(absl::StatusOr<ServerLimits>, Enroll, (std::stop_token), (override));
  MOCK_METHOD(absl::StatusOr<CheckInAnswer>, CheckIn, (absl::Duration, int64_t, std::stop_token),
              (override));
  MOCK_METHOD(absl::Status, FetchModel, (const FetchRequest&, ModelSink&, std::stop_token),
              (override));
  MOCK_METHOD(absl::Status, FetchProgram,
              (const ProgramRequest&, const TakeChunk&, std::stop_token), (override));
  MOCK_METHOD(absl::StatusOr<UploadAnswer>, UploadUpdate,
              (const UpdateHeader&, const ChunkSource&, std::stop_token), (override));
  MOCK_METHOD(absl::StatusOr<EvaluationAnswer>, ReportEvaluation,
              (const EvaluationReport&, std::stop_token), (override));
  MOCK_METHOD(absl::StatusOr<bool>, ReportProgress, (const ProgressReport&, std::stop_token),
              (override));
  MOCK_METHOD(absl::Status, AbandonWork, (const AbandonNotice&), (override));
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_MOCKS_MOCK_CONNECTION_H_
