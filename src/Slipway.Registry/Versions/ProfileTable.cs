using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Versions;

/// <summary>The rows of <c>model_version_profiles</c>, and what <c>models</c> says of a model beside its versions.</summary>
internal static class ProfileTable
{
    public static void Insert(WriteTransaction transaction, string model, string version, ModelFormat format, VersionProfile profile) => transaction.Connection.Execute(
        "INSERT INTO model_version_profiles (model, version, profile, measurable) VALUES (@model, @version, @json, @measurable)",
        new { model, version, measurable = IsMeasured(format, profile) ? 1 : 0, json = JsonSerializer.Serialize(profile, JsonDefaults.Options) });

    /// <summary>Whether a version is a graph of its own, whose speed is this machine's.</summary>
    private static bool IsMeasured(ModelFormat format, VersionProfile profile) => profile.NotServed is null && format is not (ModelFormat.Remote or ModelFormat.Chain);

    public static VersionProfile? Find(DbConnection connection, string model, string version)
    {
        var row = connection.Query<(string Profile, string? Benchmark)>(
            "SELECT profile, benchmark FROM model_version_profiles WHERE model = @model AND version = @version", new { model, version }).AsList();
        return row.Count == 0 ? null : Parse<VersionProfile>(row[0].Profile) with { Benchmark = row[0].Benchmark is { } json ? Parse<ModelBenchmark>(json) : null };
    }

    /// <summary>Keeps a benchmark; false when there is one already, or no profile.</summary>
    public static bool SetBenchmark(WriteTransaction transaction, string model, string version, ModelBenchmark benchmark) => transaction.Connection.Execute(
        "UPDATE model_version_profiles SET benchmark = @json WHERE model = @model AND version = @version AND benchmark IS NULL",
        new { model, version, json = JsonSerializer.Serialize(benchmark, JsonDefaults.Options) }) == 1;

    /// <summary>A version whose benchmark is owed; null when all are measured.</summary>
    public static (string Model, string Version)? Owed(DbConnection connection)
    {
        var owed = connection.Query<(string, string)>(
            "SELECT model, version FROM model_version_profiles WHERE benchmark IS NULL AND measurable = 1 ORDER BY model, version LIMIT 1").AsList();
        return owed.Count == 0 ? null : owed[0];
    }

    /// <summary>What is said of a model; null when there is no such model.</summary>
    public static ModelFacts? Facts(DbConnection connection, string model) => Query(connection, "WHERE name = @model", new { model }).SingleOrDefault();

    public static IReadOnlyDictionary<string, ModelFacts> AllFacts(DbConnection connection) => Query(connection, "", null).ToDictionary(facts => facts.Name, StringComparer.Ordinal);

    public static void SetFacts(WriteTransaction transaction, ModelFacts facts) => transaction.Connection.Execute(
        "UPDATE models SET kind = @kind, purpose = @Purpose, owner = @Owner, risk_class = @risk, updated_at_ms = @now WHERE name = @Name",
        new { kind = EnumText(facts.Kind), facts.Purpose, facts.Owner, risk = EnumText(facts.RiskClass), facts.Name, now = transaction.NowMs });

    private static IEnumerable<ModelFacts> Query(DbConnection connection, string where, object? parameters) => connection
        .Query<(string Name, string Kind, string Purpose, string? Owner, string RiskClass)>($"SELECT name, kind, purpose, owner, risk_class FROM models {where}", parameters)
        .Select(row => new ModelFacts(row.Name, Parse<ModelKind>($"\"{row.Kind}\""), row.Purpose, row.Owner, Parse<RiskClass>($"\"{row.RiskClass}\"")));

    private static string EnumText<T>(T value)
        where T : struct, Enum => JsonSerializer.Serialize(value, JsonDefaults.Options).Trim('"');

    private static T Parse<T>(string json) => JsonSerializer.Deserialize<T>(json, JsonDefaults.Options)!;
}

/// <summary>What is said of a model.</summary>
/// <param name="Name">The model.</param>
/// <param name="Kind">How it came to be.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="Owner">Who answers for it; null takes the newest version's owner.</param>
/// <param name="RiskClass">How much harm a wrong answer can do.</param>
internal sealed record ModelFacts(string Name, ModelKind Kind, string Purpose, string? Owner, RiskClass RiskClass);
