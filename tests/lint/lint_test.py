"""The lints find what they are for: each is run over a small tree with one violation."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import forbidden_calls
import header_guards
import layering


def findings(lint, files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return lint.check(root)


class Layering(unittest.TestCase):
    def refused(self, path, header, *words):
        found = findings(layering, {path: f'\n#include {header}\n'})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{path}:2: includes "), found)
        for word in words:
            self.assertIn(word, found[0])

    def allowed(self, path, header):
        self.assertEqual(findings(layering, {path: f"#include {header}\n"}), [])

    def test_arrows_point_down(self):
        self.refused("common/rng.cc", '"schedulers/scheduler.h"', "of ours only common")
        self.refused("schedulers/a.cc", '"aggregators/pipeline.h"')
        self.refused("aggregators/a.cc", '"schedulers/scheduler.h"')
        self.refused("aggregators/combine/a.cc", '"common/codec/codec.h"')
        self.refused("server/coordinator/a.cc", '"client_sdk/trainer.h"')
        self.refused("client_sdk/client.h", '"server/coordinator/events.h"')
        self.refused("client_sdk/client.cc", '"client_sdk/torch/torch_trainer.h"')
        self.refused("simulator/a.cc", '"server/rpc/service.h"')
        self.refused("server/operator/a.cc", '"server/live/live_job.h"')
        self.allowed("server/coordinator/a.cc", '"aggregators/pipeline.h"')
        self.allowed("server/operator/a.cc", '"server/coordinator/job_file.h"')
        self.allowed("simulator/a.cc", '"client_sdk/torch/torch_trainer.h"')

    def test_third_party_headers_have_their_rooms(self):
        self.refused("common/a.h", "<grpcpp/grpcpp.h>", "grpc")
        self.refused("schedulers/a.h", "<thread>", "threads")
        self.refused("schedulers/a.h", '"tributary/v1/job.pb.h"', "proto")
        self.refused("aggregators/a.cc", "<torch/torch.h>", "torch")
        self.refused("server/coordinator/a.cc", '"sqlite3.h"', "sqlite")
        self.refused("server/coordinator/a.cc", "<fstream>", "io")
        self.refused("client_sdk/internal/a.cc", "<ATen/ATen.h>", "torch")
        self.refused("client_sdk/torch/a.cc", "<grpcpp/grpcpp.h>", "grpc")
        self.refused("simulator/a.cc", '"tributary/v1/operator.grpc.pb.h"', "grpc")
        self.refused("client_sdk/trainer.h", '"tributary/v1/job.pb.h"', "proto")
        self.allowed("client_sdk/torch/a.cc", "<torch/torch.h>")
        self.allowed("aggregators/a.cc", "<Eigen/Dense>")
        self.allowed("server/store/a.cc", "<sqlite3.h>")
        self.allowed("schedulers/a.cc", "<vector>")

    def test_unknown_headers_and_folders_are_told(self):
        self.refused("common/a.h", "<boost/any.hpp>", "in no group")
        self.refused("common/a.h", '"rng.h"', "from the root")
        found = findings(layering, {"server/extra/a.cc": ""})
        self.assertEqual(len(found), 1)
        self.assertIn("no rule", found[0])

    def test_every_room_and_exception_names_what_exists_in_the_table(self):
        self.assertLessEqual(set(layering.NEVER), set(layering.ROOMS))
        for ours, groups in layering.ROOMS.values():
            self.assertLessEqual(set(groups), set(layering.GROUPS))
            for name in ours:
                self.assertIn(name.split("/")[0], layering.source_tree.FOLDERS)


class ForbiddenCalls(unittest.TestCase):
    def test_each_is_found_outside_its_place(self):
        for code in ("absl::Now()", "std::chrono::steady_clock::now()", "time(nullptr)",
                     "clock_gettime(0, &t)", "absl::SleepFor(d)", "usleep(10)",
                     "std::this_thread::sleep_for(d)", "std::random_device r;", "rand()",
                     "std::mt19937 g;", "#include <random>", "absl::Mutex mu;", "std::mutex mu;",
                     "std::lock_guard lock(mu);", "torch::manual_seed(1)", "throw 1;"):
            with self.subTest(code):
                found = findings(forbidden_calls, {"server/rpc/a.cc": "\n\n" + code + "\n"})
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith("server/rpc/a.cc:3: "), found)

    def test_their_places_may(self):
        self.assertEqual(findings(forbidden_calls, {
            "common/clock.cc": "auto t = std::chrono::steady_clock::now();\nstd::mutex mu;\n",
            "common/mutex.h": "std::mutex mu_;\n",
            "common/rng.cc": "#include <random>\n",
        }), [])

    def test_comments_strings_and_look_alikes_do_not_count(self):
        self.assertEqual(findings(forbidden_calls, {"server/rpc/a.cc": (
            "// no absl::Now() here\n/* throw\n std::mutex */\n"
            'Say("rand() and throw");\nauto operand(int);\nClock::SleepFor(d, stop);\n'
            'auto s = R"(std::mutex)";\nuptime(0);\n')}), [])

    def test_lines_are_counted_across_comments(self):
        found = findings(forbidden_calls, {"common/a.cc": "/*\n\n*/\nint x = rand();\n"})
        self.assertEqual([f.split(": ")[0] for f in found], ["common/a.cc:4"])


class HeaderGuards(unittest.TestCase):
    GOOD = "#ifndef TRIBUTARY_COMMON_A_H_\n#define TRIBUTARY_COMMON_A_H_\n#endif  // TRIBUTARY_COMMON_A_H_\n"

    def test_guard_is_the_path(self):
        self.assertEqual(findings(header_guards, {"common/a.h": self.GOOD}), [])
        self.assertTrue(findings(header_guards, {"common/b.h": self.GOOD}))
        self.assertTrue(findings(header_guards, {"common/a.h": "#pragma once\n"}))


class CommandLine(unittest.TestCase):
    def run_lint(self, name, root):
        script = pathlib.Path(__file__).with_name(name)
        return subprocess.run([sys.executable, script, root], capture_output=True, text=True)

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as root:
            pathlib.Path(root, "common").mkdir()
            source = pathlib.Path(root, "common", "a.h")
            for script in ("layering.py", "forbidden_calls.py", "header_guards.py"):
                source.write_text(HeaderGuards.GOOD, encoding="utf-8")
                self.assertEqual(self.run_lint(script, root).returncode, 0)
                source.write_text("#include <torch/torch.h>\nint x = rand();\n", encoding="utf-8")
                failed = self.run_lint(script, root)
                self.assertEqual(failed.returncode, 1)
                self.assertIn("common/a.h:", failed.stdout)
                self.assertEqual(self.run_lint(script, root + "/missing").returncode, 2)


if __name__ == "__main__":
    unittest.main()
