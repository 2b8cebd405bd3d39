"""What implements PostgreSQL's operators, types, aggregates and indexes, by name: `int4pl`, `texteq`, `date_in`, `record_send`.

Applications hardly ever call them, tools and drivers do now and then. Taken from `pg_proc` of PostgreSQL 15, 16 and 18 like
`builtin.py`: none of them has a volatile overload. What takes or returns `internal` is left out, since no query can call it.

The input functions of containers and domains are here, too, although they run those of a type they are told in a value: the chart
says so.
"""

# ruff: noqa: SIM905 - 1200 quoted words would hide the words
from __future__ import annotations

from typing import Final

IMPLEMENTING_FUNCTIONS: Final = frozenset(
    """
    aclitemeq aclitemin aclitemout any_in any_out any_value_transfn anyarray_in anyarray_out
    anyarray_send anycompatible_in anycompatible_out anycompatiblearray_in
    anycompatiblearray_out anycompatiblearray_send anycompatiblemultirange_in
    anycompatiblemultirange_out anycompatiblenonarray_in anycompatiblenonarray_out
    anycompatiblerange_in anycompatiblerange_out anyelement_in anyelement_out anyenum_in
    anyenum_out anymultirange_in anymultirange_out anynonarray_in anynonarray_out
    anyrange_in anyrange_out anytextcat array_in array_larger array_out array_send
    array_smaller bit_in bit_out bit_send bitand bitcat bitcmp biteq bitge bitgt bitle bitlt
    bitne bitnot bitor bitshiftleft bitshiftright bittypmodin bittypmodout bitxor
    booland_statefunc booleq boolge boolgt boolin boolle boollt boolne boolor_statefunc
    boolout boolsend box_above box_above_eq box_add box_below box_below_eq box_center
    box_contain box_contain_pt box_contained box_distance box_div box_eq box_ge box_gt
    box_in box_intersect box_le box_left box_lt box_mul box_out box_overabove box_overbelow
    box_overlap box_overleft box_overright box_right box_same box_send box_sub bpchar_larger
    bpchar_pattern_ge bpchar_pattern_gt bpchar_pattern_le bpchar_pattern_lt bpchar_smaller
    bpcharcmp bpchareq bpcharge bpchargt bpchariclike bpcharicnlike bpcharicregexeq
    bpcharicregexne bpcharin bpcharle bpcharlike bpcharlt bpcharne bpcharnlike bpcharout
    bpcharregexeq bpcharregexne bpcharsend bpchartypmodin bpchartypmodout
    brin_bloom_summary_in brin_bloom_summary_out brin_bloom_summary_send
    brin_minmax_multi_summary_in brin_minmax_multi_summary_out
    brin_minmax_multi_summary_send btarraycmp btboolcmp btbpchar_pattern_cmp btcharcmp
    btfloat48cmp btfloat4cmp btfloat84cmp btfloat8cmp btint24cmp btint28cmp btint2cmp
    btint42cmp btint48cmp btint4cmp btint82cmp btint84cmp btint8cmp btnamecmp btnametextcmp
    btoidcmp btoidvectorcmp btrecordcmp bttext_pattern_cmp bttextcmp bttextnamecmp bttidcmp
    bytea bytea_larger bytea_smaller byteacat byteacmp byteaeq byteage byteagt byteain
    byteale bytealike bytealt byteane byteanlike byteaout byteasend cash_cmp cash_div_cash
    cash_div_flt4 cash_div_flt8 cash_div_int2 cash_div_int4 cash_div_int8 cash_eq cash_ge
    cash_gt cash_in cash_le cash_lt cash_mi cash_mul_flt4 cash_mul_flt8 cash_mul_int2
    cash_mul_int4 cash_mul_int8 cash_ne cash_out cash_pl cash_send cashlarger cashsmaller
    chareq charge chargt charin charle charlt charne charout charsend cideq cidin cidout
    cidr_in cidr_out cidr_send cidsend circle_above circle_add_pt circle_below circle_center
    circle_contain circle_contain_pt circle_contained circle_distance circle_div_pt
    circle_eq circle_ge circle_gt circle_in circle_le circle_left circle_lt circle_mul_pt
    circle_ne circle_out circle_overabove circle_overbelow circle_overlap circle_overleft
    circle_overright circle_right circle_same circle_send circle_sub_pt close_ls close_lseg
    close_pb close_pl close_ps close_sb cstring_in cstring_out cstring_send date_cmp
    date_cmp_timestamp date_cmp_timestamptz date_eq date_eq_timestamp date_eq_timestamptz
    date_ge date_ge_timestamp date_ge_timestamptz date_gt date_gt_timestamp
    date_gt_timestamptz date_in date_larger date_le date_le_timestamp date_le_timestamptz
    date_lt date_lt_timestamp date_lt_timestamptz date_mi date_mi_interval date_mii date_ne
    date_ne_timestamp date_ne_timestamptz date_out date_pl_interval date_pli date_send
    date_smaller datetime_pl datetimetz_pl dcbrt dist_bp dist_bs dist_cpoint dist_cpoly
    dist_lp dist_ls dist_pathp dist_pb dist_pc dist_pl dist_polyc dist_polyp dist_ppath
    dist_ppoly dist_ps dist_sb dist_sl dist_sp domain_in dpow dsqrt enum_cmp enum_eq enum_ge
    enum_gt enum_in enum_larger enum_le enum_lt enum_ne enum_out enum_send enum_smaller
    event_trigger_out fdw_handler_out float48div float48eq float48ge float48gt float48le
    float48lt float48mi float48mul float48ne float48pl float4_accum float4abs float4div
    float4eq float4ge float4gt float4in float4larger float4le float4lt float4mi float4mul
    float4ne float4out float4pl float4send float4smaller float4um float4up float84div
    float84eq float84ge float84gt float84le float84lt float84mi float84mul float84ne
    float84pl float8_accum float8_avg float8_combine float8_corr float8_covar_pop
    float8_covar_samp float8_regr_accum float8_regr_avgx float8_regr_avgy
    float8_regr_combine float8_regr_intercept float8_regr_r2 float8_regr_slope
    float8_regr_sxx float8_regr_sxy float8_regr_syy float8_stddev_pop float8_stddev_samp
    float8_var_pop float8_var_samp float8abs float8div float8eq float8ge float8gt float8in
    float8larger float8le float8lt float8mi float8mul float8ne float8out float8pl float8send
    float8smaller float8um float8up gin_cmp_tslexeme gin_compare_jsonb
    gist_translate_cmptype_common gtsvectorin gtsvectorout hashbool hashboolextended
    hashbytea hashbyteaextended hashcid hashcidextended hashdate hashdateextended hashxid
    hashxid8 hashxid8extended hashxidextended index_am_handler_out inet_in inet_out
    inet_send inetand inetmi inetmi_int8 inetnot inetor inetpl int24div int24eq int24ge
    int24gt int24le int24lt int24mi int24mul int24ne int24pl int28div int28eq int28ge
    int28gt int28le int28lt int28mi int28mul int28ne int28pl int2_avg_accum
    int2_avg_accum_inv int2_mul_cash int2_sum int2abs int2and int2div int2eq int2ge int2gt
    int2in int2int4_sum int2larger int2le int2lt int2mi int2mod int2mul int2ne int2not
    int2or int2out int2pl int2send int2shl int2shr int2smaller int2um int2up int2vectorin
    int2vectorout int2vectorsend int2xor int42div int42eq int42ge int42gt int42le int42lt
    int42mi int42mul int42ne int42pl int48div int48eq int48ge int48gt int48le int48lt
    int48mi int48mul int48ne int48pl int4_avg_accum int4_avg_accum_inv int4_avg_combine
    int4_mul_cash int4_sum int4abs int4and int4div int4eq int4ge int4gt int4in int4larger
    int4le int4lt int4mi int4mod int4mul int4ne int4not int4or int4out int4pl int4send
    int4shl int4shr int4smaller int4um int4up int4xor int82div int82eq int82ge int82gt
    int82le int82lt int82mi int82mul int82ne int82pl int84div int84eq int84ge int84gt
    int84le int84lt int84mi int84mul int84ne int84pl int8_avg int8_mul_cash int8_sum int8abs
    int8and int8div int8eq int8ge int8gt int8in int8inc_float8_float8 int8larger int8le
    int8lt int8mi int8mod int8mul int8ne int8not int8or int8out int8pl int8pl_inet int8send
    int8shl int8shr int8smaller int8um int8up int8xor integer_pl_date inter_lb inter_sb
    inter_sl interval_accum interval_accum_inv interval_avg interval_cmp interval_combine
    interval_div interval_eq interval_ge interval_gt interval_in interval_larger interval_le
    interval_lt interval_mi interval_mul interval_ne interval_out interval_pl
    interval_pl_date interval_pl_time interval_pl_timestamp interval_pl_timestamptz
    interval_pl_timetz interval_send interval_smaller interval_um intervaltypmodin
    intervaltypmodout json_in json_out json_send jsonb_cmp jsonb_in jsonb_out
    jsonb_populate_record_valid jsonb_send jsonpath_in jsonpath_out jsonpath_send
    language_handler_out line_distance line_eq line_horizontal line_in line_interpt
    line_intersect line_out line_parallel line_perp line_send line_vertical lseg_center
    lseg_distance lseg_eq lseg_ge lseg_gt lseg_horizontal lseg_in lseg_interpt
    lseg_intersect lseg_le lseg_length lseg_lt lseg_ne lseg_out lseg_parallel lseg_perp
    lseg_send lseg_vertical macaddr8_and macaddr8_cmp macaddr8_eq macaddr8_ge macaddr8_gt
    macaddr8_in macaddr8_le macaddr8_lt macaddr8_ne macaddr8_not macaddr8_or macaddr8_out
    macaddr8_send macaddr_and macaddr_cmp macaddr_eq macaddr_ge macaddr_gt macaddr_in
    macaddr_le macaddr_lt macaddr_ne macaddr_not macaddr_or macaddr_out macaddr_send
    mul_d_interval multirange_adjacent_multirange multirange_adjacent_range
    multirange_after_multirange multirange_after_range multirange_before_multirange
    multirange_before_range multirange_cmp multirange_contained_by_multirange
    multirange_contained_by_range multirange_contains_elem multirange_contains_multirange
    multirange_contains_range multirange_eq multirange_ge multirange_gt multirange_in
    multirange_intersect multirange_le multirange_lt multirange_minus multirange_ne
    multirange_out multirange_overlaps_multirange multirange_overlaps_range
    multirange_overleft_multirange multirange_overleft_range multirange_overright_multirange
    multirange_overright_range multirange_send multirange_union nameeq nameeqtext namege
    namegetext namegt namegttext nameiclike nameicnlike nameicregexeq nameicregexne namein
    namele nameletext namelike namelt namelttext namene namenetext namenlike nameout
    nameregexeq nameregexne namesend network_cmp network_eq network_ge network_gt
    network_larger network_le network_lt network_ne network_overlap network_smaller
    network_sub network_subeq network_sup network_supeq numeric_abs numeric_add numeric_cmp
    numeric_div numeric_eq numeric_ge numeric_gt numeric_in numeric_larger numeric_le
    numeric_lt numeric_mod numeric_mul numeric_ne numeric_out numeric_pl_pg_lsn
    numeric_power numeric_send numeric_smaller numeric_sub numeric_uminus numeric_uplus
    numerictypmodin numerictypmodout oideq oidge oidgt oidin oidlarger oidle oidlt oidne
    oidout oidsend oidsmaller oidvectoreq oidvectorge oidvectorgt oidvectorin oidvectorle
    oidvectorlt oidvectorne oidvectorout oidvectorsend on_pb on_pl on_ppath on_ps on_sb
    on_sl path_add path_add_pt path_contain_pt path_distance path_div_pt path_in path_inter
    path_length path_mul_pt path_n_eq path_n_ge path_n_gt path_n_le path_n_lt path_npoints
    path_out path_send path_sub_pt pg_ddl_command_in pg_ddl_command_out pg_ddl_command_send
    pg_dependencies_in pg_dependencies_out pg_dependencies_send pg_lsn_cmp pg_lsn_eq
    pg_lsn_ge pg_lsn_gt pg_lsn_in pg_lsn_larger pg_lsn_le pg_lsn_lt pg_lsn_mi pg_lsn_mii
    pg_lsn_ne pg_lsn_out pg_lsn_pli pg_lsn_send pg_lsn_smaller pg_mcv_list_in
    pg_mcv_list_out pg_mcv_list_send pg_ndistinct_in pg_ndistinct_out pg_ndistinct_send
    pg_node_tree_in pg_node_tree_out pg_node_tree_send pg_snapshot_in pg_snapshot_out
    pg_snapshot_send pg_stat_get_checkpointer_buffers_written
    pg_stat_get_checkpointer_num_performed pg_stat_get_checkpointer_num_requested
    pg_stat_get_checkpointer_num_timed pg_stat_get_checkpointer_restartpoints_performed
    pg_stat_get_checkpointer_restartpoints_requested
    pg_stat_get_checkpointer_restartpoints_timed pg_stat_get_checkpointer_slru_written
    pg_stat_get_checkpointer_stat_reset_time pg_stat_get_checkpointer_sync_time
    pg_stat_get_checkpointer_write_time pg_stat_get_db_parallel_workers_launched
    pg_stat_get_db_parallel_workers_to_launch pg_stat_get_total_analyze_time
    pg_stat_get_total_autoanalyze_time pg_stat_get_total_autovacuum_time
    pg_stat_get_total_vacuum_time pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone
    point_above point_add point_below point_distance point_div point_eq point_horiz point_in
    point_left point_mul point_ne point_out point_right point_send point_sub point_vert
    poly_above poly_below poly_center poly_contain poly_contain_pt poly_contained
    poly_distance poly_in poly_left poly_npoints poly_out poly_overabove poly_overbelow
    poly_overlap poly_overleft poly_overright poly_right poly_same poly_send range_adjacent
    range_adjacent_multirange range_after range_after_multirange range_before
    range_before_multirange range_cmp range_contained_by range_contained_by_multirange
    range_contains range_contains_elem range_contains_multirange range_eq range_ge range_gt
    range_in range_intersect range_le range_lt range_minus range_ne range_out range_overlaps
    range_overlaps_multirange range_overleft range_overleft_multirange range_overright
    range_overright_multirange range_send range_union record_eq record_ge record_gt
    record_image_eq record_image_ge record_image_gt record_image_le record_image_lt
    record_image_ne record_in record_larger record_le record_lt record_ne record_out
    record_send record_smaller regclassin regclassout regclasssend regcollationin
    regcollationout regcollationsend regconfigin regconfigout regconfigsend regdictionaryin
    regdictionaryout regdictionarysend regnamespacein regnamespaceout regnamespacesend
    regoperatorin regoperatorout regoperatorsend regoperin regoperout regopersend
    regprocedurein regprocedureout regproceduresend regprocin regprocout regprocsend
    regrolein regroleout regrolesend regtypein regtypeout regtypesend shell_in shell_out
    table_am_handler_out text_larger text_smaller textanycat textcat texteq texteqname
    textgename textgtname texticlike texticnlike texticregexeq texticregexne textin
    textlename textlike textltname textne textnename textnlike textout textregexeq
    textregexne textsend tideq tidge tidgt tidin tidlarger tidle tidlt tidne tidout tidsend
    tidsmaller time_cmp time_eq time_ge time_gt time_in time_larger time_le time_lt
    time_mi_interval time_mi_time time_ne time_out time_pl_interval time_send time_smaller
    timedate_pl timestamp_cmp timestamp_cmp_date timestamp_cmp_timestamptz timestamp_eq
    timestamp_eq_date timestamp_eq_timestamptz timestamp_ge timestamp_ge_date
    timestamp_ge_timestamptz timestamp_gt timestamp_gt_date timestamp_gt_timestamptz
    timestamp_in timestamp_larger timestamp_le timestamp_le_date timestamp_le_timestamptz
    timestamp_lt timestamp_lt_date timestamp_lt_timestamptz timestamp_mi
    timestamp_mi_interval timestamp_ne timestamp_ne_date timestamp_ne_timestamptz
    timestamp_out timestamp_pl_interval timestamp_send timestamp_smaller timestamptypmodin
    timestamptypmodout timestamptz_cmp timestamptz_cmp_date timestamptz_cmp_timestamp
    timestamptz_eq timestamptz_eq_date timestamptz_eq_timestamp timestamptz_ge
    timestamptz_ge_date timestamptz_ge_timestamp timestamptz_gt timestamptz_gt_date
    timestamptz_gt_timestamp timestamptz_hash timestamptz_hash_extended timestamptz_in
    timestamptz_larger timestamptz_le timestamptz_le_date timestamptz_le_timestamp
    timestamptz_lt timestamptz_lt_date timestamptz_lt_timestamp timestamptz_mi
    timestamptz_mi_interval timestamptz_ne timestamptz_ne_date timestamptz_ne_timestamp
    timestamptz_out timestamptz_pl_interval timestamptz_send timestamptz_smaller
    timestamptztypmodin timestamptztypmodout timetypmodin timetypmodout timetz_cmp timetz_eq
    timetz_ge timetz_gt timetz_in timetz_larger timetz_le timetz_lt timetz_mi_interval
    timetz_ne timetz_out timetz_pl_interval timetz_send timetz_smaller timetzdate_pl
    timetztypmodin timetztypmodout trigger_out tsm_handler_out tsq_mcontained tsq_mcontains
    tsquery_and tsquery_cmp tsquery_eq tsquery_ge tsquery_gt tsquery_le tsquery_lt
    tsquery_ne tsquery_not tsquery_or tsqueryin tsqueryout tsquerysend tsvector_cmp
    tsvectorin tsvectorout tsvectorsend txid_snapshot_in txid_snapshot_out
    txid_snapshot_send unknownin unknownout unknownsend uuid_cmp uuid_eq uuid_ge uuid_gt
    uuid_in uuid_le uuid_lt uuid_ne uuid_out uuid_send varbit_in varbit_out varbit_send
    varbitcmp varbiteq varbitge varbitgt varbitle varbitlt varbitne varbittypmodin
    varbittypmodout varcharin varcharout varcharsend varchartypmodin varchartypmodout
    void_in void_out void_send xid8_larger xid8_smaller xid8cmp xid8eq xid8ge xid8gt xid8in
    xid8le xid8lt xid8ne xid8out xid8send xideq xideqint4 xidin xidneq xidneqint4 xidout
    xidsend xml_in xml_out xml_send xmlconcat2
    """.split()
)
