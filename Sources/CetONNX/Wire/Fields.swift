/// Field numbers of onnx.proto. Only fields that the library reads or writes are named.
enum ModelField {
  static let irVersion = 1
  static let producerName = 2
  static let producerVersion = 3
  static let domain = 4
  static let modelVersion = 5
  static let documentation = 6
  static let graph = 7
  static let opsetImport = 8
  static let metadata = 14
  static let functions = 25
}

enum OpsetField {
  static let domain = 1
  static let version = 2
}

enum EntryField {
  static let key = 1
  static let value = 2
}

enum GraphField {
  static let node = 1
  static let name = 2
  static let initializer = 5
  static let input = 11
  static let output = 12
  static let valueInfo = 13
  static let sparseInitializer = 15
}

enum NodeField {
  static let input = 1
  static let output = 2
  static let name = 3
  static let operatorType = 4
  static let attribute = 5
  static let domain = 7
  static let overload = 8
  /// What `MessageEncoder` writes of a node.
  static let encoded: Set<Int> = [input, output, name, operatorType, attribute, domain, overload]
}

enum AttributeField {
  static let name = 1
  static let float = 2
  static let int = 3
  static let string = 4
  static let tensor = 5
  static let graph = 6
  static let floats = 7
  static let ints = 8
  static let strings = 9
  static let tensors = 10
  static let graphs = 11
  static let type = 20
  static let reference = 21
  static let sparseTensor = 22
  static let sparseTensors = 23
}

/// AttributeProto.AttributeType.
enum AttributeKind {
  static let all: ClosedRange<Int64> = 0...14
  static let float: Int64 = 1
  static let int: Int64 = 2
  static let string: Int64 = 3
  static let tensor: Int64 = 4
  static let graph: Int64 = 5
  static let floats: Int64 = 6
  static let ints: Int64 = 7
  static let strings: Int64 = 8
  static let tensors: Int64 = 9
  static let graphs: Int64 = 10
  static let sparseTensor: Int64 = 11
}

enum TensorField {
  static let dims = 1
  static let dataType = 2
  static let segment = 3
  static let floatData = 4
  static let int32Data = 5
  static let stringData = 6
  static let int64Data = 7
  static let name = 8
  static let rawData = 9
  static let doubleData = 10
  static let uint64Data = 11
  static let externalData = 13
  static let dataLocation = 14
  /// What `MessageEncoder` writes of a tensor, and the other places of its data.
  static let encoded: Set<Int> = [
    dims, dataType, segment, floatData, int32Data, stringData, int64Data, name, rawData, doubleData, uint64Data, externalData, dataLocation,
  ]
}

enum SparseTensorField {
  static let values = 1
  static let indices = 2
  static let dims = 3
}

enum ValueInfoField {
  static let name = 1
  static let type = 2
}

enum TypeField {
  static let tensor = 1
  /// Sequence, map, opaque, sparse tensor and optional.
  static let others = [4, 5, 7, 8, 9]
  static let elementType = 1  // in TypeProto.Tensor
  static let shape = 2  // in TypeProto.Tensor
  static let dimension = 1  // in TensorShapeProto
  static let dimensionValue = 1  // in TensorShapeProto.Dimension
  static let dimensionParameter = 2  // in TensorShapeProto.Dimension
}

enum FunctionField {
  static let name = 1
  static let input = 4
  static let output = 5
  static let attribute = 6
  static let node = 7
  static let opsetImport = 9
  static let domain = 10
  static let attributeDefault = 11
  static let overload = 13
}
