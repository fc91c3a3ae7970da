import FoundationEssentials

/// What the plan's document has beyond the C structs.
struct PlanDocument: Decodable {
  struct Judgement: Decodable { var calibration: String? }
  struct Options: Decodable { var external_data: Bool? }

  var judgement: Judgement?
  var options: Options?

  init?(_ text: String) {
    guard let document = try? JSONDecoder().decode(PlanDocument.self, from: Data(text.utf8)) else { return nil }
    self = document
  }
}
