let fixtures: String = {
  let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
  return parts.joined(separator: "/") + "/Fixtures"
}()
