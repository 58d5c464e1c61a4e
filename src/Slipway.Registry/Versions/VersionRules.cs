using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Versions;

/// <summary>What a change of interface demands of the version number.</summary>
/// <param name="Required">The least bump.</param>
/// <param name="Reasons">The fields behind it; one sentence part each.</param>
internal sealed record InterfaceChange(Bump Required, IReadOnlyList<string> Reasons);

/// <summary>The next version number, and why.</summary>
internal sealed record NextVersion(SemanticVersion Version, string Bump, string Reason);

/// <summary>Decides version numbers: callers of a minor or patch release may go on as they are.</summary>
internal static class VersionRules
{
    /// <summary>Compares the interface of two versions.</summary>
    public static InterfaceChange Compare(ModelSignature oldSignature, FeatureSchema oldFeatures, ModelSignature signature, FeatureSchema features)
    {
        var breaking = new List<string>();
        var additions = new List<string>();
        if (BothDeclared("signature", oldSignature.Inputs.Count, signature.Inputs.Count, breaking, additions))
        {
            CompareFields("input", oldSignature.Inputs, signature.Inputs, breaking, additions);
            CompareFields("output", oldSignature.Outputs, signature.Outputs, breaking, additions);
        }

        if (BothDeclared("features", oldFeatures.Features.Count, features.Features.Count, breaking, additions))
        {
            CompareFeatures(oldFeatures, features, breaking);
        }

        if (breaking.Count > 0)
        {
            return new InterfaceChange(Bump.Major, breaking);
        }

        var undeclared = signature.Inputs.Count == 0 && features.Features.Count == 0;
        return additions.Count > 0 ? new InterfaceChange(Bump.Minor, additions)
            : new InterfaceChange(Bump.Patch, [undeclared ? "neither version declares a signature or features to compare" : "signature and features are unchanged"]);
    }

    /// <summary>The change together with a significantly better evaluation, which alone is worth a minor version.</summary>
    public static InterfaceChange WithEvaluation(InterfaceChange change, string? better) => better is null ? change
        : change.Required == Bump.Patch ? new InterfaceChange(Bump.Minor, [better])
        : change with { Reasons = [.. change.Reasons, better] };

    // What was never declared cannot be compared; what is declared no more can no longer be relied on.
    private static bool BothDeclared(string what, int before, int after, List<string> breaking, List<string> additions)
    {
        if (before > 0 && after == 0)
        {
            breaking.Add($"{what} no longer declared");
        }
        else if (before == 0 && after > 0)
        {
            additions.Add($"{what} declared for the first time");
        }

        return before > 0 && after > 0;
    }

    private static void CompareFeatures(FeatureSchema oldFeatures, FeatureSchema features, List<string> breaking)
    {
        var before = oldFeatures.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        var after = features.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        breaking.AddRange(before.Keys.Except(after.Keys).Select(name => $"feature '{name}' is gone"));
        breaking.AddRange(after.Keys.Except(before.Keys).Select(name => $"feature '{name}' is new"));
        breaking.AddRange(after.Where(feature => before.TryGetValue(feature.Key, out var type) && type != feature.Value)
            .Select(feature => $"feature '{feature.Key}' changed from {before[feature.Key]} to {feature.Value}"));
    }

    /// <summary>The version number a registration gets.</summary>
    /// <param name="requested"><c>auto</c>, a bump, or <c>x.y.z</c>.</param>
    /// <param name="newest">The newest version; null on the first.</param>
    /// <param name="change">Against the newest version; null on the first.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the number is too small for the change; AlreadyExists.</exception>
    public static NextVersion Next(string requested, SemanticVersion? newest, InterfaceChange? change)
    {
        var isExplicit = SemanticVersion.TryParse(requested, out var version);
        if (newest is not { } previous || change is null)
        {
            return new NextVersion(isExplicit ? version : SemanticVersion.First, "first", "the model's first version");
        }

        var why = string.Join(", ", change.Reasons);
        if (isExplicit)
        {
            if (version == previous)
            {
                throw new SlipwayException(ErrorCode.AlreadyExists, $"Version {version} exists already; ask for 'auto' or a version above it.");
            }

            if (version.CompareTo(previous) < 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'bump' asks for {version}, which is below the newest version {previous}; ask for 'auto' or a version above it.");
            }
        }

        var bump = isExplicit ? version.BumpFrom(previous) : requested == "auto" ? change.Required : Parse(requested);
        if (bump < change.Required)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'bump' asks for {Name(bump)}, but the change from {previous} needs {Name(change.Required)}: {why}; use 'auto' or '{Name(change.Required)}'.");
        }

        var reason = bump == change.Required ? why : $"{requested} was asked for; {why}, which alone needs {Name(change.Required)}";
        return new NextVersion(isExplicit ? version : previous.Next(bump), Name(bump), reason);
    }

    public static bool IsRequest(string? bump) => bump is "auto" or "major" or "minor" or "patch" || (bump is not null && SemanticVersion.TryParse(bump, out _));

    public static string Name(Bump bump) => bump switch { Bump.Major => "major", Bump.Minor => "minor", _ => "patch" };

    private static Bump Parse(string bump) => bump switch { "major" => Bump.Major, "minor" => Bump.Minor, _ => Bump.Patch };

    private static void CompareFields(
        string noun, IReadOnlyList<SignatureField> oldFields, IReadOnlyList<SignatureField> newFields, List<string> breaking, List<string> additions)
    {
        var before = oldFields.ToDictionary(field => field.Name, StringComparer.Ordinal);
        var after = newFields.ToDictionary(field => field.Name, StringComparer.Ordinal);
        breaking.AddRange(before.Keys.Except(after.Keys).Select(name => $"{noun} '{name}' is gone"));
        foreach (var field in newFields)
        {
            if (!before.TryGetValue(field.Name, out var old))
            {
                // A new answer can be ignored; a new question cannot, unless it is optional.
                (noun == "output" || field.Optional ? additions : breaking).Add($"{noun} '{field.Name}' is new{(noun == "input" && !field.Optional ? " and required" : "")}");
            }
            else if (old.Type != field.Type || !old.Shape.SequenceEqual(field.Shape))
            {
                breaking.Add($"{noun} '{field.Name}' changed from {Spell(old)} to {Spell(field)}");
            }
            else if (noun == "input" && old.Optional != field.Optional)
            {
                (field.Optional ? additions : breaking).Add($"input '{field.Name}' became {(field.Optional ? "optional" : "required")}");
            }
        }
    }

    private static string Spell(SignatureField field) => $"{field.Type}[{string.Join(',', field.Shape)}]";
}
