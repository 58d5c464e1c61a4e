namespace Slipway.Contracts.Governance;

/// <summary>The documents that are written from the records.</summary>
public enum DocumentType
{
    /// <summary>What one model version is, where it comes from, how well it does.</summary>
    ModelCard,

    /// <summary>How models are made and run here: fifteen sections.</summary>
    Strategy,

    /// <summary>Five dimensions, each with the checks behind its level.</summary>
    Maturity,
}

/// <summary>Body of <c>POST /documents</c>.</summary>
/// <param name="Type">Which document.</param>
/// <param name="Model">Its model; needed for a model card, otherwise null covers all models.</param>
/// <param name="Supplied">Text that only people can supply, by key; kept for later versions. An empty text takes one away.</param>
public sealed record GenerateDocument(DocumentType? Type, string? Model = null, IReadOnlyDictionary<string, string>? Supplied = null)
{
    /// <summary>The version that a model card describes, such as a candidate before its promotion; null takes the one in production, else the newest.</summary>
    public string? ModelVersion { get; init; }
}

/// <summary>One published document.</summary>
/// <param name="Id">With its version, such as <c>ARC-FLIGHT-DELAY-MCARD-v1.0</c>.</param>
/// <param name="Series">The id without version.</param>
/// <param name="Version">Such as <c>1.0</c>.</param>
/// <param name="Type">Which document.</param>
/// <param name="Title">First heading.</param>
/// <param name="Model">Its model; null when it covers all.</param>
/// <param name="ModelVersion">The version a model card describes; null otherwise.</param>
/// <param name="Status">DRAFT until people have reviewed it.</param>
/// <param name="Sha256">Of the Markdown.</param>
/// <param name="SizeBytes">Of the Markdown.</param>
/// <param name="File">Its file below the data folder.</param>
/// <param name="CreatedBy">Who had it written.</param>
/// <param name="CreatedAt">When.</param>
/// <param name="Newest">Whether no later version of the series exists.</param>
/// <param name="Stale">Whether the facts of a model card have changed since; older versions of a series are always stale.</param>
/// <param name="StaleReason">What changed; null when not stale.</param>
public sealed record DocumentInfo(
    string Id, string Series, string Version, DocumentType Type, string Title, string? Model, string? ModelVersion, string Status, string Sha256, long SizeBytes,
    string File, string CreatedBy, DateTimeOffset CreatedAt, bool Newest, bool Stale, string? StaleReason);

/// <summary>Answer of <c>POST /documents</c>.</summary>
/// <param name="Document">The new document, or the newest one when no fact has changed since.</param>
/// <param name="Created">False when no fact has changed and nothing was written.</param>
/// <param name="Warnings">Inputs that were missing, each by name.</param>
/// <param name="Checks">The quality checks it passed.</param>
/// <param name="Validation">Points to settle after generation; a failed one does not stop publication.</param>
public sealed record GeneratedDocument(
    DocumentInfo Document, bool Created, IReadOnlyList<string> Warnings, IReadOnlyList<DocumentCheck> Checks, IReadOnlyList<DocumentCheck> Validation);

/// <summary>One check of a document.</summary>
/// <param name="Name">What is checked.</param>
/// <param name="Passed">Whether it holds.</param>
/// <param name="Detail">What was found.</param>
public sealed record DocumentCheck(string Name, bool Passed, string Detail);

/// <summary>Answer of <c>GET /documents</c>.</summary>
/// <param name="Documents">Newest first.</param>
public sealed record DocumentList(IReadOnlyList<DocumentInfo> Documents);
