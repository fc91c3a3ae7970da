// What libonnx says of ONNX files. A program of its own: libonnx and libprotobuf share no process with libcet, nor with a
// Python that has loaded another ONNX.
//
//   onnx-judge check FILE...   valid, invalid or beyond, as libonnx's checker and its strict shape inference say
//   onnx-judge dump FILE...    what libprotobuf reads, in the form of Tests/CetONNXTests/ModelDump.swift
//   onnx-judge --version       the versions that it judges
//
// One line a file on standard output: the verdict, a tab, the file, and after another tab why; `dump` prints what it read after
// the line of a valid file. Exit code: 0 all are valid, 1 one is invalid, 3 one is beyond its versions (and none invalid), 2 usage.
#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/shape_inference/implementation.h>

#include <cstring>
#include <exception>
#include <iostream>
#include <string>

#include "judge.h"

namespace {

/// Newer IR versions and operator sets have meanings that this libonnx does not know: its word would be none.
std::string newerThanKnown(const onnx::ModelProto& model) {
  auto text = [](const std::string& what, int64_t found, int64_t known) {
    return what + " " + std::to_string(found) + ", known up to " + std::to_string(known);
  };
  if (model.ir_version() > onnx::Version::IR_VERSION)
    return text("IR version", model.ir_version(), onnx::Version::IR_VERSION);
  const auto known = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  std::string found;
  auto look = [&](const auto& imports) {
    for (const auto& import : imports) {
      const auto range = known.find(import.domain() == "ai.onnx" ? "" : import.domain());
      if (found.empty() && range != known.end() && import.version() > range->second.second)
        found = text("operator set" + (import.domain().empty() ? "" : " of " + import.domain()), import.version(),
                     range->second.second);
    }
  };
  look(model.opset_import());
  for (const auto& function : model.functions()) look(function.opset_import());
  return found;
}

Verdict check(const std::string& path) {
  onnx::ModelProto model = read(path);
  const std::string newer = newerThanKnown(model);
  if (!newer.empty()) return {Verdict::beyond, newer};
  onnx::checker::check_model(path);
  onnx::shape_inference::InferShapes(
      model, onnx::OpSchemaRegistry::Instance(), onnx::ShapeInferenceOptions(true, 1, true));
  return {Verdict::valid, ""};
}

Verdict judged(const std::string& mode, const std::string& path, std::string& text) {
  try {
    if (mode == "check") return check(path);
    text = dumped(read(path), path);
    return {Verdict::valid, ""};
  } catch (const std::exception& error) {
    std::string why = error.what();
    for (char& c : why)
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    return {Verdict::invalid, why};
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--version" && argc == 2) {
    std::cout << "IR version up to " << onnx::Version::IR_VERSION << ", operator set up to "
              << onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at("").second << "\n";
    return 0;
  }
  if ((mode != "check" && mode != "dump") || argc < 3) {
    std::cerr << "usage: onnx-judge check|dump FILE...\n";
    return 2;
  }
  google::protobuf::SetLogHandler(nullptr);  // a refusal is told once, by the verdict
  bool invalid = false, beyond = false;
  for (int index = 2; index < argc; ++index) {
    std::string text;
    const Verdict verdict = judged(mode, argv[index], text);
    invalid |= verdict.kind == Verdict::invalid;
    beyond |= verdict.kind == Verdict::beyond;
    static const char* const words[] = {"valid", "invalid", "beyond"};
    std::cout << words[verdict.kind] << "\t" << argv[index] << (verdict.why.empty() ? "" : "\t") << verdict.why << "\n" << text;
  }
  std::cout.flush();
  return !std::cout ? 1 : invalid ? 1 : beyond ? 3 : 0;
}
