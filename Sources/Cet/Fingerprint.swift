import CetFormats
import CetTensor

/// What a spectrum or a saved state belongs to: named values in a fixed order.
public struct Fingerprint: Sendable, Equatable {
  public struct Field: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  public var fields: [Field]

  public init(_ fields: [Field] = []) { self.fields = fields }

  public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

  /// The first value that differs, in words; nil when there is none. Only those of `names` count, if given.
  public func difference(from expected: Fingerprint, names: Set<String>? = nil) -> String? {
    for field in expected.fields where names?.contains(field.name) ?? true {
      let found = self[field.name]
      if found != field.value { return "\(field.name) is \(found ?? "unknown"), expected \(field.value)" }
    }
    for field in fields where expected[field.name] == nil && names?.contains(field.name) ?? true {
      return "\(field.name) is \(field.value), expected none"
    }
    return nil
  }

  var json: JSON { .object(fields.map { .init($0.name, .string($0.value)) }) }

  init(_ json: JSONFields) throws(CetError) {
    fields = try json.members().map { name, field throws(CetError) in Field(name, try field.string()) }
  }
}

extension Fingerprint {
  /// Names, shapes and places of a parameter vector.
  static func text(of parameters: [ParameterSlot]) -> String {
    var checksum = Checksum()
    for parameter in parameters {
      checksum.update(parameter.name)
      checksum.update("\(parameter.shape) \(parameter.offset)")
    }
    let elements = parameters.reduce(0) { $0 + $1.count }
    return "\(parameters.count) tensors of \(elements) elements (\(Checksum.hexadecimal(checksum.value)))"
  }

  /// Names, types, shapes and contents of samples, batch by batch.
  static func text(of data: Calibration) -> String {
    var halves = [Checksum(), Checksum(seed: 1)]
    func add(_ name: String, _ tensor: Tensor) {
      for k in halves.indices {
        halves[k].update("\(name) \(tensor.type) \(tensor.shape)")
        halves[k].update(UnsafeRawBufferPointer(start: tensor.pointer, count: tensor.byteCount))
      }
    }
    for batch in data.batches {
      for input in batch.inputs { add(input.name, input.tensor) }
      if let labels = batch.labels { add("labels", labels) }
    }
    return "\(data.sampleCount) samples (" + halves.map { Checksum.hexadecimal($0.value) }.joined() + ")"
  }
}
