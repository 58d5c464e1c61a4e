namespace Slipway.Contracts;

/// <summary>One page of a listing by keyset.</summary>
/// <typeparam name="T">The item.</typeparam>
/// <param name="Items">The items, in the listing's order.</param>
/// <param name="NextCursor">Opaque; pass it back as <c>cursor</c> for the next page. Null on the last page.</param>
public sealed record Page<T>(IReadOnlyList<T> Items, string? NextCursor);
