namespace Slipway.Storage.Blobs;

/// <summary>A record that rests on a blob.</summary>
/// <param name="Subject">The record.</param>
/// <param name="Part">What the blob is to it, such as a file's path or <c>baseline</c>.</param>
/// <param name="Sha256">The blob's name.</param>
public sealed record BlobReference(NodeRef Subject, string Part, string Sha256);
