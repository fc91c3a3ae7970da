import CCet
import Cet

@implementation @_cdecl("cet_version_number")
public func cet_version_number() -> UInt32 {
  UInt32(CET_VERSION_MAJOR * 10000 + CET_VERSION_MINOR * 100 + CET_VERSION_PATCH)
}

@implementation @_cdecl("cet_build_info_json")
public func cet_build_info_json(_ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> cet_status {
  boundary {
    let json = try required(json, "json")
    json.pointee = nil
    json.pointee = try copyForCaller(buildInfoJSON())
  }
}

@implementation @_cdecl("cet_version_string")
public func cet_version_string() -> UnsafePointer<CChar>? { StaticText.version }
