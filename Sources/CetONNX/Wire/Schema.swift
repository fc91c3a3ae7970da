/// The messages of onnx.proto and how each of their fields is encoded. A field in another encoding is an unknown one, as in every
/// protobuf parser: it is passed over and copied. Complete up to IR version 8; of later fields there are those that the library
/// reads, the others are unknown to it.
enum Schema {
  case model, opset, entry, training, function, graph, annotation, node, attribute, tensor, segment, sparseTensor
  case valueInfo, type, tensorType, elementHolder, mapType, opaqueType, shape, dimension

  func encoding(of field: Int) -> FieldEncoding? {
    switch self {
    case .model:
      switch field {
      case 1, 5: .varint
      case 2, 3, 4, 6: .bytes
      case 7: .message(.graph)
      case 8: .message(.opset)
      case 14: .message(.entry)
      case 20: .message(.training)
      case 25: .message(.function)
      default: nil
      }
    case .opset: field == 1 ? .bytes : field == 2 ? .varint : nil
    case .entry: field == 1 || field == 2 ? .bytes : nil
    case .training:
      switch field {
      case 1, 2: .message(.graph)
      case 3, 4: .message(.entry)
      default: nil
      }
    case .function:
      switch field {
      case 1, 4, 5, 6, 8, 10, 13: .bytes
      case 7: .message(.node)
      case 9: .message(.opset)
      case 11: .message(.attribute)
      default: nil
      }
    case .graph:
      switch field {
      case 1: .message(.node)
      case 2, 10: .bytes
      case 5: .message(.tensor)
      case 11, 12, 13: .message(.valueInfo)
      case 14: .message(.annotation)
      case 15: .message(.sparseTensor)
      default: nil
      }
    case .annotation: field == 1 ? .bytes : field == 2 ? .message(.entry) : nil
    case .node:
      switch field {
      case 1, 2, 3, 4, 6, 7, 8: .bytes
      case 5: .message(.attribute)
      default: nil
      }
    case .attribute:
      switch field {
      case 1, 4, 9, 13, 21: .bytes
      case 2: .fixed32
      case 3, 20: .varint
      case 5, 10: .message(.tensor)
      case 6, 11: .message(.graph)
      case 7: .fixed32s
      case 8: .varints
      case 14, 15: .message(.type)
      case 22, 23: .message(.sparseTensor)
      default: nil
      }
    case .tensor:
      switch field {
      case 1, 5, 7, 11: .varints
      case 2, 14: .varint
      case 3: .message(.segment)
      case 4: .fixed32s
      case 6, 8, 9, 12: .bytes
      case 10: .fixed64s
      case 13: .message(.entry)
      default: nil
      }
    case .segment: field == 1 || field == 2 ? .varint : nil
    case .sparseTensor:
      switch field {
      case 1, 2: .message(.tensor)
      case 3: .varints
      default: nil
      }
    case .valueInfo:
      switch field {
      case 1, 3: .bytes
      case 2: .message(.type)
      default: nil
      }
    case .type:
      switch field {
      case 1, 8: .message(.tensorType)
      case 4, 9: .message(.elementHolder)
      case 5: .message(.mapType)
      case 6: .bytes
      case 7: .message(.opaqueType)
      default: nil
      }
    case .tensorType: field == 1 ? .varint : field == 2 ? .message(.shape) : nil
    case .elementHolder: field == 1 ? .message(.type) : nil
    case .mapType: field == 1 ? .varint : field == 2 ? .message(.type) : nil
    case .opaqueType: field == 1 || field == 2 ? .bytes : nil
    case .shape: field == 1 ? .message(.dimension) : nil
    case .dimension:
      switch field {
      case 1: .varint
      case 2, 3: .bytes
      default: nil
      }
    }
  }
}

enum FieldEncoding {
  case varint, fixed32, bytes
  /// Repeated numbers, one in a field or packed.
  case varints, fixed32s, fixed64s
  case message(Schema)

  func accepts(_ type: WireType) -> Bool {
    switch self {
    case .varint: type == .varint
    case .fixed32: type == .fixed32
    case .bytes, .message: type == .bytes
    case .varints: type == .varint || type == .bytes
    case .fixed32s: type == .fixed32 || type == .bytes
    case .fixed64s: type == .fixed64 || type == .bytes
    }
  }
}
